"""Every data set: by the function that makes it, and by its name."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from abe_jax.data.all_classes import without_validation
from abe_jax.data.dataset import Dataset
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import folder as own_images
from abe_jax.data.sources import several, tfds_splits
from abe_jax.data.sources.benchmarks import given_points
from abe_jax.data.sources.benchmarks import reading as benchmark_splits
from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.data.sources.glyphs import reading as glyph_splits
from abe_jax.data.sources.tfds_records import PREFIX
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, nearest, require


class Divided(TypedDict, total=False):
    """What of a data set training may not see: see `dataset.Dataset`."""

    validate: bool
    held_out: float
    unseen_domains: tuple[str, ...]
    validation_domains: tuple[str, ...]


def folder(
    path: str | Path,
    *,
    label_column: str = "label",
    domain_column: str = "",
    instance_column: str = "",
    capture_column: str = "",
    camera_column: str = "",
    points_column: str = "",
    point_pairs: Sequence[Sequence[int]] = (),
    test_share: float = 0.5,
    validation_classes: int | None = None,
    **divided: Unpack[Divided],
) -> Dataset:
    """Images of one's own: a folder with a sub-folder for each class, or a CSV file.

    A CSV file has a column `path`, relative to its own folder, and `label_column`; a column
    `split` (train, val, test, or query and gallery) is used where there is one, and so are
    sub-folders of these names. Where the data names no splits, `test_share` of the classes are the
    test's; where it names no validation images, the last `validation_classes` of the training
    classes are `val` (None: a tenth of them, at least ten, but never more than a fifth).

    `points_column` has points on the images (`sources/point_column.py` has its form), which become
    `Split.annotations`; in a mirrored image the points of each of `point_pairs` change places.

    Raises:
        UserError: a value that cannot be, or no images at `path`.
    """
    options = SourceOptions(
        path=str(path),
        label_column=label_column,
        domain_column=domain_column,
        instance_column=instance_column,
        capture_column=capture_column,
        camera_column=camera_column,
        points_column=points_column,
        point_pairs=tuple(map(tuple, point_pairs)),
        test_share=test_share,
        validation_classes=validation_classes or 0,
        **divided,
    )
    if validation_classes is None and options.validate:
        kept = own_images.default_validation_classes(options)
        options = dataclasses.replace(options, validation_classes=kept)
    return named("folder", options)


def glyphs(root: str | Path = "", *, tiny: bool = False, **divided: Unpack[Divided]) -> Dataset:
    """Characters drawn by many typefaces, whose classes are characters and domains type families.

    `root` is where prepared data lies ("": $ABE_JAX_DATA, else ~/.cache/abe_jax/data); `tiny` has
    62 characters and only matplotlib's faces, for tests.
    """
    options = SourceOptions(root=str(root), **divided)
    return named("glyphs_tiny" if tiny else "glyphs", options)


def tfds(
    name: str,
    root: str | Path = "",
    *,
    label_column: str = "label",
    test_share: float = 0.5,
    validation_classes: int = 0,
    **divided: Unpack[Divided],
) -> Dataset:
    """What TFDS has prepared as array_record below `root`: `cars196`, `name/config:version`.

    `label_column` is the feature that names the class. Classes are divided as those of `folder`
    where TFDS's own parts share some.
    """
    options = SourceOptions(
        root=str(root),
        label_column=label_column,
        test_share=test_share,
        validation_classes=validation_classes,
        **divided,
    )
    return named(PREFIX + name.removeprefix(PREFIX), options)


def benchmark(
    name: str,
    root: str | Path = "",
    *,
    validation_classes: int = 0,
    division: int = 0,
    sources: Sequence[str] = (),
    rotations: str | Path = "",
    points_path: str | Path = "",
    points_column: str = "",
    point_pairs: Sequence[Sequence[int]] = (),
    **divided: Unpack[Divided],
) -> Dataset:
    """A set of BENCHMARKS, such as cub, sop or inshop, prepared before by `abe_jax.prepare`.

    The last `validation_classes` of the training classes are `val`. Of a set with several divisions
    (viper) `division` is the one that is taken. With `sources`, other sets' names or paths, these
    are trained on in its place, see `several.read`. Of holidays `rotations` is a list of images to
    turn upright (`sources/benchmarks/rotations.py` has its form). The points in the column
    `points_column` of the CSV file `points_path` take the place of the set's own, `point_pairs` as
    of `folder`.
    """
    require("name", name, BENCHMARKS)
    options = SourceOptions(
        root=str(root),
        validation_classes=validation_classes,
        division=division,
        sources=tuple(sources),
        rotations=str(rotations),
        points_path=str(points_path),
        points_column=points_column,
        point_pairs=tuple(map(tuple, point_pairs)),
        **divided,
    )
    return named(name, options)


def named(name: str, options: SourceOptions | None = None) -> Dataset:
    """The data set of this name: one of DATASETS, or tfds:<name>[/config][:version].

    Raises:
        ArgumentError: of `name`: there is none; of `held_out`: it cannot be.
    """
    options = options or SourceOptions()
    if not options.validate:
        options = dataclasses.replace(options, validation_classes=0, validation_domains=())
    if options.sources:
        return _of_sources(named(name, dataclasses.replace(options, sources=())), options)
    if options.rotations and not (name in BENCHMARKS and BENCHMARKS[name].takes_rotations):
        raise ArgumentError("rotations", f"{name} takes no list of rotations; holidays does")
    given_points.check(options, name, prepared=name in BENCHMARKS)
    if name.startswith(PREFIX):
        return _tfds(name, options)
    if name not in DATASETS:
        raise ArgumentError(
            "name",
            f"unknown data set {name!r}; {nearest(name, DATASETS)} There are: "
            f"{', '.join(DATASETS)}, and what TFDS prepared as {PREFIX}<name>",
        )
    return DATASETS[name](options)


def _of_sources(own: Dataset, options: SourceOptions) -> Dataset:
    """A data set that is tested on, and the sources that are trained on in its place."""
    read = functools.partial(several.read, options, own.name, own.read)
    return dataclasses.replace(own, read=read, own_held_out=False, options=options)


def _folder(options: SourceOptions) -> Dataset:
    return _dataset(
        "folder",
        options,
        functools.partial(own_images.read, options),
        functools.partial(own_images.prepare, options),
    )


def _glyphs(name: str, choice: str) -> Callable[[SourceOptions], Dataset]:
    def dataset(options: SourceOptions) -> Dataset:
        return _dataset(
            name,
            options,
            functools.partial(glyph_splits.read, options, choice),
            functools.partial(glyph_splits.prepare, options, choice),
        )

    return dataset


def _tfds(name: str, options: SourceOptions) -> Dataset:
    return _dataset(
        name,
        options,
        functools.partial(tfds_splits.read, name, options),
        functools.partial(tfds_splits.prepare, name, options),
    )


def _benchmark(benchmark: Benchmark) -> Callable[[SourceOptions], Dataset]:
    def dataset(options: SourceOptions) -> Dataset:
        return _dataset(
            benchmark.name,
            options,
            functools.partial(benchmark_splits.read, benchmark, options),
            functools.partial(benchmark_splits.prepare, benchmark, options.root),
            own_held_out=benchmark.own_held_out,
        )

    return dataset


def _dataset(
    name: str,
    options: SourceOptions,
    read: Callable[[str], Split],
    prepare: Callable[[], Path],
    own_held_out: bool = False,
) -> Dataset:
    return Dataset(
        name=name,
        read=read if options.validate else without_validation(read, name),
        prepare=prepare,
        validate=options.validate,
        held_out=options.held_out,
        unseen_domains=options.unseen_domains,
        validation_domains=options.validation_domains,
        own_held_out=own_held_out,
        options=options,
    )


DATASETS: dict[str, Callable[[SourceOptions], Dataset]] = {
    "glyphs": _glyphs("glyphs", "full"),
    "glyphs_tiny": _glyphs("glyphs_tiny", "tiny"),  # for tests: 62 characters, matplotlib's faces
    **{name: _benchmark(benchmark) for name, benchmark in BENCHMARKS.items()},
    "folder": _folder,
}
