"""The whitening of a run's checkpoint: fitted once and kept in the run's folder.

It is fitted on training images, or on photographs in a folder of their own, as MultiGrain's is on
those of another collection (Berman et al., arXiv 1902.05509).
"""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from abe_jax import files, hosts, models
from abe_jax.data import Split
from abe_jax.data.sources import walking
from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.image_files import Files
from abe_jax.data.split import chosen
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation import whitening
from abe_jax.evaluation.whitening import Whitening

Raw = Float[np.ndarray, "n D"]
Source = dict[str, str]  # what a whitening was fitted of: digests of checkpoint and config
CONTENTS = "contents"  # of a folder of photographs, in a Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """What a whitening is fitted on; nothing is whitened without `images` or `path`.

    images  drawn by the seed; 0: of a folder all
    path    a folder of photographs, at any depth; empty: training images. No label is looked at
    asked   whether it is another than that of the run's config
    """

    images: int = 0
    path: str = ""
    seed: int = 0
    asked: bool = False

    def __bool__(self) -> bool:
        return bool(self.images or self.path)

    @property
    def what(self) -> str:
        """Such as "training images" or "photographs of flickr"."""
        return f"photographs of {self._folder.name}" if self.path else "training images"

    @property
    def label(self) -> str:
        """What an evaluation's name says of it; empty where it is the run's own."""
        number = f"{self.images:,} " if self.images else ""
        return f"whitened on {number}{self.what}" if self.asked else ""

    @property
    def file(self) -> str:
        """What the name of its file says of it; empty for the run's own on training images."""
        if not self.path:
            return self.label
        place = hashlib.sha256(str(self._folder).encode(errors="surrogateescape")).hexdigest()
        return f"on {self._folder.name} {place[:8]}"

    def source(self) -> Source:
        """What binds a whitening to these images, beside `source`.

        Of a folder that is there the names and sizes of its images. Of one that is not there
        anymore nothing is known of these, and the whitening fitted on it serves.
        """
        about = {"images": str(self.images)} if self.asked or self.path else {}
        if self.path:
            about["folder"] = str(self._folder)
            if self._folder.is_dir():
                about[CONTENTS] = _contents(self._folder)
        return about

    def check(self, model: models.Ensemble) -> None:
        """Raises ArgumentError of `whiten_path` for a network that takes images with points."""
        if self.path and models.asks_points(model):
            raise ArgumentError(
                "whiten_path",
                f"{self.what} come without points, and the network's pooled_at is 'given'; leave "
                "it empty, and set whiten to a number of training images",
            )

    def split(self, train: Callable[[], Split]) -> Split:
        """The images that it is fitted on.

        Raises:
            UserError: there is no such folder, or no image in it.
        """
        if not self.path:
            return sample(train(), self.images, self.seed)
        require_photographs(self.path)
        return sample(_photographs(self._folder), self.images, self.seed)

    @property
    def _folder(self) -> Path:
        return files.expanded(self.path).resolve()


def require_photographs(path: str) -> None:
    """Raises ArgumentError of `whiten_path` where a folder has no image to fit a whitening on."""
    folder, name = files.expanded(path), shown(path)
    if not folder.is_dir():
        raise ArgumentError("whiten_path", f"{name}: no such folder; name one of photographs")
    if not any(True for _ in walking.below(folder)):
        raise ArgumentError("whiten_path", f"{name}: no image lies there or in a folder below")


def _photographs(folder: Path) -> Split:
    paths = list(walking.below(folder))
    return Split(
        name=f"photographs of {folder.name}",
        records=Files(folder, paths),
        labels=np.zeros(len(paths), np.int32),
        class_names=("any",),
        paths=tuple(str(folder / path) for path in paths),
    )


def _contents(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in walking.below(folder):
        try:
            size = (folder / path).stat().st_size
        except OSError:  # an image that cannot be read
            size = -1
        digest.update(f"{path}\0{size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def source(digest: str, description: Mapping[str, Any]) -> Source:
    """What binds a whitening to a checkpoint, by its digest, and to all that a config says."""
    said = json.dumps(description, sort_keys=True)
    return {"checkpoint": digest, "config": hashlib.sha256(said.encode()).hexdigest()}


def load_or_fit(
    path: Path,
    of: Source,
    raw: Callable[[], Raw],
    say: Callable[[str], None],
    what: str = "training images",
) -> Whitening | None:
    """The whitening at `path` where it is of this source, else one fitted now and kept there.

    All hosts call this; the first alone has the file, and the others are given None.

    Args:
        path: the file, written whole or not at all.
        of: the source of the whitening that is asked for.
        raw: gives the embeddings that it is fitted on.
        say: is told of a fit.
        what: the embeddings are of.

    Raises:
        UserError: the file cannot be written, or the errors of `whitening.fit`.
    """
    kept = _read(path, of) if hosts.is_first() else None
    if hosts.gather_rows(np.array([kept is not None]))[0]:
        return kept
    embeddings = raw()
    with hosts.together():
        if not hosts.is_first():
            return None
        fitted = whitening.fit(embeddings)
        inputs, outputs = fitted.projection.shape
        images = f"{len(embeddings):,} {what}"
        say(f"whitening fitted on {images}: {outputs} of {inputs} directions")
        _write(path, of, fitted)
        return fitted


def sample(train: Split, images: int, seed: int) -> Split:
    """The images that a whitening is fitted on: a random subset drawn with the seed, or all."""
    count = len(train.labels)
    images = images or count
    order = np.random.default_rng(seed).permutation(count)
    return chosen(train, np.sort(order[: min(count, images)]))


def _read(path: Path, of: Source) -> Whitening | None:
    """The whitening, unless there is none, it is another's, or its file is damaged."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            written_of: Any = json.loads(str(stored["of"]))
            fitted = Whitening(stored["mean"], stored["projection"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if isinstance(written_of, dict) and CONTENTS not in of:
        written_of.pop(CONTENTS, None)
    return fitted if written_of == of else None


def _write(path: Path, of: Source, fitted: Whitening) -> None:
    try:
        with files.writing(path) as file:
            np.savez(file, of=np.array(json.dumps(of)), **fitted._asdict())
    except OSError as error:  # so that the other hosts stop as well
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
