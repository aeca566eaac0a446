"""The whitening of a run's checkpoint: fitted once on training images, kept in the run's folder."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from abe_jax import files, hosts
from abe_jax.data import Split
from abe_jax.data.split import chosen
from abe_jax.errors import UserError
from abe_jax.evaluation import whitening
from abe_jax.evaluation.whitening import Whitening

Raw = Float[np.ndarray, "n D"]
Source = dict[str, str]  # what a whitening was fitted of: digests of checkpoint and config


def source(digest: str, description: Mapping[str, Any]) -> Source:
    """What binds a whitening to a checkpoint, by its digest, and to all that a config says."""
    said = json.dumps(description, sort_keys=True)
    return {"checkpoint": digest, "config": hashlib.sha256(said.encode()).hexdigest()}


def load_or_fit(
    path: Path, of: Source, raw: Callable[[], Raw], say: Callable[[str], None]
) -> Whitening | None:
    """The whitening at `path` where it is of this source, else one fitted now and kept there.

    All hosts call this; the first alone has the file, and the others are given None.

    Args:
        path: the file, written whole or not at all.
        of: the source of the whitening that is asked for.
        raw: gives the embeddings that it is fitted on.
        say: is told of a fit.

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
        images = f"{len(embeddings):,} training images"
        say(f"whitening fitted on {images}: {outputs} of {inputs} directions")
        _write(path, of, fitted)
        return fitted


def sample(train: Split, images: int, seed: int) -> Split:
    """The images that a whitening is fitted on: a random subset drawn with the seed, or all."""
    count = len(train.labels)
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
    return fitted if written_of == of else None


def _write(path: Path, of: Source, fitted: Whitening) -> None:
    try:
        with files.writing(path) as file:
            np.savez(file, of=np.array(json.dumps(of)), **fitted._asdict())
    except OSError as error:  # so that the other hosts stop as well
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
