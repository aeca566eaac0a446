"""Prepared benchmarks as splits, by their published protocols."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from jaxtyping import Bool, Int

from abe_jax.data.held_out import HELD
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import class_splits
from abe_jax.data.sources.benchmarks import annotated
from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.builder import INFO, LABELS, info, shard_names
from abe_jax.data.sources.prepared import EncodedImages, damage_named, data_root
from abe_jax.data.split import Split
from abe_jax.errors import UserError


class Prepared(NamedTuple):
    """What lies in the folder of a prepared benchmark; the arrays are those of `builder`."""

    folder: Path
    images: int
    arrays: dict[str, np.ndarray]


def folder(benchmark: Benchmark, root: str) -> Path:
    """Where a set lies once it is prepared."""
    return data_root(root) / "originals" / benchmark.name  # a name on users' disks: it stays


def prepare(benchmark: Benchmark, root: str) -> Path:
    """The folder of a prepared set.

    Raises:
        UserError: it is not prepared yet.
    """
    there = folder(benchmark, root)
    if not (there / INFO).exists():
        raise UserError(
            f"no prepared {benchmark.name} in {data_root(root)}: run "
            f"`python -m abe_jax.prepare --dataset {benchmark.name} --source DIR`, DIR being the "
            f"folder with {benchmark.archives}"
        )
    return there


def counts_warning(benchmark: Benchmark, root: str) -> str:
    """Where a prepared set has other counts than those published, a line that says so."""
    there = folder(benchmark, root)
    if info(there)["as_published"]:
        return ""
    return f"{benchmark.name} in {there} is not as published: --allow-counts prepared it"


def read(benchmark: Benchmark, options: SourceOptions, split: str) -> Split:
    """One split of a prepared set.

    train, val  the training classes without the last `validation_classes`, and these
    test        as published: other classes than the training's, or (ImageNet) other images
    held        of a set whose test images are of the training classes: those of `train`'s

    Raises:
        UserError: the set has no such split, or what is prepared is damaged.
    """
    prepared = _opened(benchmark, prepare(benchmark, options.root))
    rows = np.flatnonzero(_in_split(benchmark, options, split, prepared.arrays))
    if not len(rows):
        raise UserError(f"{benchmark.name} in {prepared.folder} has no image of its split {split}")
    labels = prepared.arrays["labels"]
    # Held-out images have the numbers of training, where a class of theirs may have no image.
    numbered = _in_split(benchmark, options, "train", prepared.arrays) if split == HELD else rows
    return _split(benchmark, prepared, split, rows, np.unique(labels[numbered]))


def _opened(benchmark: Benchmark, there: Path) -> Prepared:
    with damage_named(there), (there / LABELS).open("rb") as file, np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
        about = info(there)
    if about["version"] != benchmark.version:
        raise UserError(f"{there} is of another version of abe_jax: delete it and prepare it anew")
    return Prepared(there, about["images"], arrays)


def _in_split(
    benchmark: Benchmark, options: SourceOptions, split: str, arrays: dict[str, Any]
) -> Bool[np.ndarray, " n"]:
    """Which images a split has."""
    tested = np.array([part.split == "test" for part in benchmark.parts.values()])[arrays["parts"]]
    if split == "test":
        return tested
    if tested.all():
        raise UserError(
            f"{benchmark.name} has images for the test alone: measure a run on them by "
            f"`python -m abe_jax.evaluate --workdir RUN --dataset {benchmark.name}`"
        )
    classes: dict[str, list[int]] = {"train": np.unique(arrays["labels"][~tested]).tolist()}
    classes = class_splits.with_validation(
        classes | {"val": [], "test": []}, options.validation_classes, benchmark.name
    )
    if split == "val" and not classes["val"]:
        raise class_splits.no_validation(benchmark.name)
    of_classes = np.isin(arrays["labels"], classes["train" if split == HELD else split])
    return (tested if split == HELD else ~tested) & of_classes


def _split(
    benchmark: Benchmark,
    prepared: Prepared,
    name: str,
    rows: Int[np.ndarray, " k"],
    classes: Int[np.ndarray, " c"],
) -> Split:
    """The images `rows`, their classes numbered as they stand in `classes`."""
    arrays = prepared.arrays
    labels = np.searchsorted(classes, arrays["labels"][rows]).astype(np.int32)
    names, keys = _names(arrays["class_names"]), _names(arrays["keys"])
    domains = tuple(_names(arrays["domain_names"]))
    sides = [part.gallery for part in benchmark.parts.values()]
    gallery = np.array([bool(sides[part]) for part in arrays["parts"][rows]])
    two_sides = name == "test" and any(side is not None for side in sides)
    source = _source(benchmark, prepared)
    return Split(
        name=name,
        records=EncodedImages(prepared.folder, [source], arrays["rows"][rows], key=""),
        labels=labels,
        groups=arrays["domains"][rows] if domains else None,
        class_names=tuple(names[label] for label in classes),
        group_names=domains,
        paths=tuple(keys[row] for row in rows),
        object_ids=labels if benchmark.class_is_object else None,
        gallery=gallery if two_sides else None,
        annotations=annotated.read(arrays, rows, categories=benchmark.domain_is_category),
        point_pairs=benchmark.point_pairs,
        attribute_names=annotated.names(arrays),
    )


def _names(joined: np.ndarray) -> list[str]:
    text = joined.tobytes().decode(errors="replace")
    return text.split("\n") if text else []


def _source(benchmark: Benchmark, prepared: Prepared) -> ArrayRecordDataSource:
    with damage_named(prepared.folder):
        names = shard_names(benchmark, prepared.images)
        source = ArrayRecordDataSource([str(prepared.folder / name) for name in names])
        if len(source) != prepared.images:
            raise ValueError(f"{len(source)} images in place of {prepared.images}")
    return source
