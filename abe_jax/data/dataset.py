"""The data sets by name: prepared once, then read as class-disjoint splits.

`load` never needs what preparing needed: prepared glyphs are read without fonts or Pillow.
"""

import contextlib
import dataclasses
import difflib
import io
import pathlib
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow_datasets as tfds

from abe_jax.config import Data
from abe_jax.data import domains, held_out, object_ids
from abe_jax.data.held_out import HELD
from abe_jax.data.sources import folder, tfds_classes
from abe_jax.data.sources.benchmarks import reading
from abe_jax.data.sources.benchmarks.benchmark import Original
from abe_jax.data.sources.benchmarks.table import ORIGINALS
from abe_jax.data.sources.tfds_stored import PREFIX
from abe_jax.data.sources.writing import locked
from abe_jax.data.split import EncodedImages, Split, damage_named, data_root, shard_sources
from abe_jax.errors import UserError

__all__ = ["DATASETS", "HELD", "SPLITS", "Dataset", "Split", "load", "prepare"]

SPLITS = ("train", "val", "test")  # of disjoint classes
_GLYPHS_VERSION = "1.0.0"  # of the builder: a test holds the two equal
_SIDECAR = "labels.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """How a data set is prepared and how a split of it is read."""

    prepare: Callable[[Data], pathlib.Path]
    load: Callable[[Data, str], Split]
    held: bool = False  # has held-out images of its own, which `load` reads as the split `held`


def prepare(data: Data) -> pathlib.Path:
    """Builds what is not yet built of `data.name` and returns its folder.

    Safe when several processes do it at once (one builds, the others wait) and when one was
    killed half-way (the next begins anew). Raises `UserError` when the name is unknown or what
    is needed is not there.
    """
    return _dataset(data.name).prepare(data)


def load(data: Data, split: str) -> Split:
    """One split, `train`, `val` or `test`, of the data set `data.name`, prepared if need be.

    The classes of the three are disjoint (but ImageNet's test images are of all its classes), and
    so are their domains where the config names some that training shall not see
    (`domains.restricted`). A fourth, `held`, are images of the training classes that training does
    not see (`has_held`): those that `data.held_out` keeps out of `train`, or the data set's own.
    Raises `UserError` when the name or the split is unknown, or the prepared data is damaged.
    """
    if split not in (*SPLITS, HELD):
        raise UserError(f"unknown split {split!r}: one of {', '.join((*SPLITS, HELD))}")
    prepare(data)
    if split == HELD and not has_held(data):
        raise UserError("config.data.held_out is 0: no image of a training class is held out")
    own = _dataset(data.name).held
    if own and data.held_out:
        raise UserError(
            f"config.data.held_out is {data.held_out}: {data.name} has held-out images of its own; "
            "leave it at 0"
        )
    of = "train" if split == HELD and not own else split
    found = domains.restricted(_dataset(data.name).load(data, of), data)
    return held_out.part(found, data.held_out, split) if data.held_out and of == "train" else found


def has_held(data: Data) -> bool:
    """Whether there is a split `held`."""
    return bool(data.held_out) or _dataset(data.name).held


def _dataset(name: str) -> Dataset:
    if name.startswith(PREFIX):
        return _TFDS
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.0)[0]
        raise UserError(
            f"unknown data set {name!r} in config.data.name; did you mean {near!r}? "
            f"There are: {', '.join(DATASETS)}, and what TFDS prepared as {PREFIX}<name>"
        )
    return DATASETS[name]


def _prepare_glyphs(data: Data, config: str) -> pathlib.Path:
    folder = _glyphs_folder(data, config)
    if not folder.exists():
        with locked(folder.parent):
            if not folder.exists():
                for leftover in folder.parent.glob("incomplete.*"):  # of a killed process
                    shutil.rmtree(leftover)
                _build_glyphs(data, config)
    return folder


def _glyphs_folder(data: Data, config: str) -> pathlib.Path:
    return data_root(data.root) / "glyphs" / config / _GLYPHS_VERSION


def _build_glyphs(data: Data, config: str) -> None:
    try:
        from abe_jax.data.sources import glyphs  # its fonts, Pillow and fontTools are an extra
    except ModuleNotFoundError as error:
        raise UserError(
            f"preparing glyphs needs {error.name}: pip install 'abe_jax[quickstart]'"
        ) from error
    builder = glyphs.Glyphs(
        config=config, data_dir=data_root(data.root), file_format="array_record"
    )
    with _quiet():
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The builder has its own progress bars; TFDS's five more and its two lines tell nothing new.
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


def _load_glyphs(data: Data, split: str, config: str) -> Split:
    if data.validation_classes:
        raise UserError(
            "glyphs has validation classes of its own: leave config.data.validation_classes at 0"
        )
    folder = _glyphs_folder(data, config)
    with damage_named(folder), (folder / _SIDECAR).open("rb") as file, np.load(file) as stored:
        labels, groups = stored[f"{split}/labels"], stored[f"{split}/groups"]
        classes, families = stored[f"{split}/classes"], stored["families"]
    _, (source,) = shard_sources(folder, (split,))
    with damage_named(folder):
        if len(source) != len(labels):
            raise ValueError(f"{len(source)} images but {len(labels)} labels")
    return Split(
        name=split,
        records=EncodedImages(folder, [source], np.arange(len(labels))),
        labels=labels,
        groups=groups,
        class_names=tuple(map(str, classes)),
        group_names=tuple(map(str, families)),
        objects=object_ids.of_groups(labels, groups),  # a character in one family's styles
    )


def _glyphs(config: str) -> Dataset:
    return Dataset(
        prepare=lambda data: _prepare_glyphs(data, config),
        load=lambda data, split: _load_glyphs(data, split, config),
    )


def _original(original: Original) -> Dataset:
    return Dataset(
        prepare=lambda data: reading.prepare(original, data),
        load=lambda data, split: reading.load(original, data, split),
        held=original.held,
    )


DATASETS: dict[str, Dataset] = {
    "glyphs": _glyphs("full"),
    "glyphs_tiny": _glyphs("tiny"),  # for tests: 62 characters, only matplotlib's faces
    **{name: _original(original) for name, original in ORIGINALS.items()},
    "folder": Dataset(prepare=folder.prepare, load=folder.load),
}
_TFDS = Dataset(prepare=tfds_classes.prepare, load=tfds_classes.load)
