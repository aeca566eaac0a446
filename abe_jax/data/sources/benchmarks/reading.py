"""Prepared data sets as splits, by their published protocols."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from jaxtyping import Bool, Int

from abe_jax.config import Data
from abe_jax.data.sources.benchmarks.benchmark import Original
from abe_jax.data.sources.benchmarks.builder import INFO, LABELS, info, shard_names
from abe_jax.data.split import Split, damage_named, data_root
from abe_jax.errors import UserError


class Stored(Sequence[bytes]):
    """The encoded images of some rows of a prepared set; reading is thread-safe."""

    def __init__(self, folder: Path, source: ArrayRecordDataSource, rows: Int[np.ndarray, " n"]):
        self._folder, self._source, self._rows = folder, source, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "Stored": ...

    def __getitem__(self, index: int | slice) -> "bytes | Stored":
        if isinstance(index, slice):
            return Stored(self._folder, self._source, self._rows[index])
        row = int(self._rows[index])
        with damage_named(self._folder):
            return self._source[row]


def folder(original: Original, root: str) -> Path:
    """Where a set lies once it is prepared."""
    return data_root(root) / "originals" / original.name


def prepare(original: Original, data: Data) -> Path:
    """The folder of a prepared set.

    Raises:
        UserError: it is not prepared yet.
    """
    found = folder(original, data.root)
    if not (found / INFO).exists():
        raise UserError(
            f"no prepared {original.name} in {data_root(data.root)}: run "
            f"`python -m abe_jax.prepare --dataset {original.name} --source DIR`, DIR being the "
            f"folder with {original.archives}"
        )
    return found


def unpublished(original: Original, root: str) -> str:
    """Where a prepared set has other counts than those published, a line that says so."""
    there = folder(original, root)
    if info(there)["as_published"]:
        return ""
    return f"{original.name} in {there} is not as published: --allow-counts prepared it"


def load(original: Original, data: Data, split: str) -> Split:
    """One part of a prepared set.

    train, val  the training classes without the last `data.validation_classes`, and these
    test        as published: other classes than the training's, or (ImageNet) other images
    held        of a set whose test images are of the training classes: those of `train`'s

    Raises:
        UserError: the set has no such part, or what is prepared is damaged.
    """
    found = prepare(original, data)
    with damage_named(found), (found / LABELS).open("rb") as file:
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = info(found)
    if about["version"] != original.version:
        raise UserError(f"{found} is of another version of abe_jax: delete it and prepare it anew")
    rows = np.flatnonzero(_chosen(original, data, split, arrays))
    if not len(rows):
        raise UserError(f"{original.name} in {found} has no image of its part {split!r}")
    trained = arrays["labels"][_chosen(original, data, "train", arrays)] if split == "held" else ()
    return _split(original, found, split, arrays, rows, trained, about["images"])


def _chosen(
    original: Original, data: Data, split: str, arrays: dict[str, Any]
) -> Bool[np.ndarray, " n"]:
    """Which images a split has."""
    tested = np.array([part.split == "test" for part in original.parts.values()])[arrays["parts"]]
    if split == "test":
        return tested
    if tested.all():
        raise UserError(
            f"{original.name} has images for the test alone: measure a run on them by "
            f"`python -m abe_jax.evaluate --workdir RUN --dataset {original.name}`"
        )
    classes = np.unique(arrays["labels"][~tested])
    kept = len(classes) - data.validation_classes
    if kept < 1:
        raise UserError(
            f"config.data.validation_classes is {data.validation_classes}: {original.name} has "
            f"{len(classes)} training classes, of which 0 to {len(classes) - 1} can be kept for "
            "validation"
        )
    if split == "val" and not data.validation_classes:
        raise UserError(
            f"{original.name} has no validation part of its own: set "
            "config.data.validation_classes, say to 10"
        )
    wanted = classes[kept:] if split == "val" else classes[:kept]
    return (tested if split == "held" else ~tested) & np.isin(arrays["labels"], wanted)


def _split(
    original: Original,
    folder: Path,
    name: str,
    arrays: dict[str, Any],
    rows: Int[np.ndarray, " k"],
    trained: Sequence[int] | Int[np.ndarray, " t"],
    images: int,
) -> Split:
    labels = arrays["labels"][rows]
    # Held-out images have the numbers of training, where a class of theirs may have no image.
    present = np.unique(trained if len(trained) else labels)
    labels = np.searchsorted(present, labels).astype(np.int32)
    names, keys = _names(arrays["class_names"]), _names(arrays["keys"])
    domains = tuple(_names(arrays["domain_names"]))
    galleries = [part.gallery for part in original.parts.values()]
    gallery = np.array([bool(galleries[part]) for part in arrays["parts"][rows]])
    asked = name == "test" and any(of is not None for of in galleries)
    return Split(
        name=name,
        records=Stored(folder, _source(original, folder, images), arrays["rows"][rows]),
        labels=labels,
        groups=arrays["domains"][rows] if domains else None,
        class_names=tuple(names[label] for label in present),
        group_names=domains,
        paths=tuple(keys[row] for row in rows),
        objects=labels if original.objects else None,
        gallery=gallery if asked else None,
    )


def _names(joined: np.ndarray) -> list[str]:
    text = joined.tobytes().decode(errors="replace")
    return text.split("\n") if text else []


def _source(original: Original, folder: Path, images: int) -> ArrayRecordDataSource:
    with damage_named(folder):
        paths = [str(folder / name) for name in shard_names(original, images)]
        source = ArrayRecordDataSource(paths)
        if len(source) != images:
            raise ValueError(f"{len(source)} images in place of {images}")
    return source
