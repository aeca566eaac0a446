"""Prepared benchmarks as splits, by their published protocols."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from jaxtyping import Bool, Int

from abe_jax import files
from abe_jax.data.held_out import HELD_OUT
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import class_splits
from abe_jax.data.sources.benchmarks import annotated, given_points, rotations
from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.builder import INFO, LABELS, info, shard_names
from abe_jax.data.sources.benchmarks.divisions import GALLERY, QUERY, TRAIN
from abe_jax.data.sources.prepared import EncodedImages, damage_named, data_root
from abe_jax.data.sources.staging import staged
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError


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
    test        as published: other classes than the training's, or (ImageNet) other images; of a
                set with several divisions that of `options.division`
    held        of a set whose test images are of the training classes: those of `train`'s

    Raises:
        UserError: the set has no such split, or what is prepared is damaged.
    """
    _check_division(benchmark, options.division)
    prepared = _opened(benchmark, prepare(benchmark, options.root))
    degrees = _rotations(prepared, options.rotations)
    rows = np.flatnonzero(_in_split(benchmark, options, split, prepared.arrays))
    if not len(rows):
        raise UserError(f"{benchmark.name} in {prepared.folder} has no image of its split {split}")
    # Held-out images have the numbers of training, where a class of theirs may have no image.
    numbers_of = "train" if split == HELD_OUT else split
    numbered = _in_split(benchmark, options, numbers_of, prepared.arrays)
    made = _split(benchmark, prepared, split, rows, np.unique(prepared.arrays["labels"][numbered]))
    if degrees:
        each = np.array([degrees.get(_name(path), -1) for path in made.paths])
        made = dataclasses.replace(made, records=rotations.Turned(made.records, each))
    made = given_points.placed(made, _names(prepared.arrays["keys"]), options)
    gallery = _use(benchmark, options.division, prepared.arrays).gallery
    own = gallery[rows] if split == "test" and gallery is not None else None
    return dataclasses.replace(made, gallery=own)


def all_images(benchmark: Benchmark, root: str) -> Split:
    """All images of a prepared set to train on, those of its test too, but those of nobody.

    Raises:
        UserError: it is not prepared, or what is prepared is damaged.
    """
    prepared = _opened(benchmark, prepare(benchmark, root))
    labels, names = prepared.arrays["labels"], _names(prepared.arrays["class_names"])
    nobody = names.index(benchmark.nobody) if benchmark.nobody in names else -1
    rows = np.flatnonzero(labels != nobody)
    return _split(benchmark, prepared, "train", rows, np.unique(labels[rows]))


def _check_division(benchmark: Benchmark, division: int) -> None:
    most = benchmark.divisions - 1
    if not 0 <= division <= most:
        choices = f"choose from 0 to {most}" if most else "it has one: leave it at 0"
        raise ArgumentError("division", f"{benchmark.name} has no division {division}; {choices}")


def turn(benchmark: Benchmark, root: str, path: str | Path) -> int:
    """Keeps a list of rotations (see rotations.py) with a prepared set; how many images it names.

    Every later reading turns these, unless another list or none is asked for. `rotations.NONE` in
    the place of a list takes the kept one away.

    Raises:
        ArgumentError: of `rotations`: a list that cannot be meant.
    """
    there = prepare(benchmark, root)
    if str(path) == rotations.NONE:
        (there / rotations.NAME).unlink(missing_ok=True)
        return 0
    degrees = _rotations(_opened(benchmark, there), str(path))
    files.write(there / rotations.NAME, rotations.written(degrees))
    return len(degrees)


def turned(benchmark: Benchmark, options: SourceOptions) -> int:
    """How many images of a prepared set are turned upright when they are read."""
    return len(_rotations(_opened(benchmark, prepare(benchmark, options.root)), options.rotations))


def _rotations(prepared: Prepared, asked: str) -> dict[str, int]:
    """The degrees of the images that are turned, by a list that is asked for or the kept one."""
    kept = prepared.folder / rotations.NAME
    path = asked or (str(kept) if kept.exists() else rotations.NONE)
    if path == rotations.NONE:
        return {}
    return rotations.read_list(path, map(_name, _names(prepared.arrays["keys"])))


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _opened(benchmark: Benchmark, there: Path) -> Prepared:
    with damage_named(there), (there / LABELS).open("rb") as file, np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
        about = info(there)
    if about["version"] != benchmark.version:
        raise UserError(f"{there} is of another version of abe_jax: delete it and prepare it anew")
    return Prepared(there, about["images"], arrays)


class _Use(NamedTuple):
    """What the images of a set are for; the gallery's, where queries are others."""

    trained: Bool[np.ndarray, " n"]
    tested: Bool[np.ndarray, " n"]
    gallery: Bool[np.ndarray, " n"] | None


def _use(benchmark: Benchmark, division: int, arrays: dict[str, Any]) -> _Use:
    if "roles" in arrays:
        roles = arrays["roles"][:, division]
        in_gallery = roles == GALLERY
        return _Use(roles == TRAIN, in_gallery | (roles == QUERY), in_gallery)
    parts = list(benchmark.parts.values())
    tested = np.array([part.split == "test" for part in parts])[arrays["parts"]]
    if all(part.gallery is None for part in parts):
        return _Use(~tested, tested, None)
    return _Use(~tested, tested, np.array([bool(part.gallery) for part in parts])[arrays["parts"]])


def _in_split(
    benchmark: Benchmark, options: SourceOptions, split: str, arrays: dict[str, Any]
) -> Bool[np.ndarray, " n"]:
    """Which images a split has."""
    trained, tested, _ = _use(benchmark, options.division, arrays)
    if split == "test":
        return tested
    if not trained.any():
        raise UserError(
            f"{benchmark.name} has images for the test alone: measure a run on them by "
            f"`python -m abe_jax.evaluate --workdir RUN --dataset {benchmark.name}`"
        )
    classes: dict[str, list[int]] = {"train": np.unique(arrays["labels"][trained]).tolist()}
    classes = class_splits.with_validation(
        classes | {"val": [], "test": []}, options.validation_classes, benchmark.name
    )
    if split == "val" and not classes["val"]:
        raise class_splits.no_validation(benchmark.name)
    of_classes = np.isin(arrays["labels"], classes["train" if split == HELD_OUT else split])
    return (tested if split == HELD_OUT else trained) & of_classes


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
    domains, groups = _domains(benchmark, arrays, keys)
    source = _source(benchmark, prepared)
    return Split(
        name=name,
        records=EncodedImages(prepared.folder, [source], arrays["rows"][rows], key=""),
        labels=labels,
        groups=groups[rows] if domains else None,
        class_names=tuple(names[label] for label in classes),
        group_names=domains,
        paths=tuple(keys[row] for row in rows),
        object_ids=labels if benchmark.class_is_object else None,
        cameras=arrays["cameras"][rows] if "cameras" in arrays else None,
        annotations=annotated.read(arrays, rows, categories=benchmark.domain_is_category),
        point_pairs=benchmark.point_pairs,
        attribute_names=annotated.names(arrays),
    )


def _domains(
    benchmark: Benchmark, arrays: dict[str, np.ndarray], keys: Sequence[str]
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """The names of all domains and each image's: as stored, else by the keys."""
    if len(arrays["domain_names"]) or benchmark.domain is None:
        return tuple(_names(arrays["domain_names"])), arrays["domains"]
    names, groups = np.unique([benchmark.domain(key) for key in keys], return_inverse=True)
    return tuple(names.tolist()), groups.astype(np.int32)


def _names(joined: np.ndarray) -> list[str]:
    text = joined.tobytes().decode(errors="replace")
    return text.split("\n") if text else []


def _source(benchmark: Benchmark, prepared: Prepared) -> ArrayRecordDataSource:
    with damage_named(prepared.folder):
        folder, names = staged(prepared.folder), shard_names(benchmark, prepared.images)
        source = ArrayRecordDataSource([str(folder / name) for name in names])
        if len(source) != prepared.images:
            raise ValueError(f"{len(source)} images in place of {prepared.images}")
    return source
