"""Prepares a data set once.

--source names the folder that holds what the authors of cars196, cub, sop, inshop, imagenet,
holidays, ukbench or copydays hand out, or those of the sets of persons market1501, dukemtmc,
cuhk02, cuhk03_labeled, cuhk03_detected, grid, viper, prid and ilids, unpacked or not, anywhere
below it; nothing is unpacked to disk. A preparation that was stopped goes on where it was; of a set
that is there already nothing is done. Other data sets, such as glyphs, need no source.

Some of Holidays' photographs lie on their side. --rotations names a text file of lines such as
"100600.jpg 90" (degrees clockwise), kept with the set: evaluations then see these images upright,
their bytes stay as they are. It can be given later too; `--rotations none` takes the list away.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.choices import DATASETS, TFDS
from abe_jax.cli import command
from abe_jax.errors import UserError, nearest

if TYPE_CHECKING:
    from abe_jax.data.sources.benchmarks.benchmark import Benchmark


def prepare(benchmark: "Benchmark", source: Path | None, root: str, any_counts: bool) -> None:
    """Prepares a data set that its authors hand out, and says what is there.

    Raises:
        UserError: no source, the errors of `builder.build`, or other counts than those published
            where such a set is there already and `any_counts` does not allow it.
    """
    from abe_jax.data.sources.benchmarks import builder, reading

    folder = reading.folder(benchmark, root)
    there = (folder / builder.INFO).exists()
    if source is None:
        if not there:
            raise UserError(
                f"--source is missing: the folder with {benchmark.archives}, unpacked or not"
            )
    elif warning := builder.build(benchmark, source, folder, any_counts=any_counts):
        command.say(f"warning: {benchmark.name} is not as published: {warning}")
    info = builder.info(folder)
    if there and (odd := reading.counts_warning(benchmark, root)):
        if source and not any_counts:
            raise UserError(f"{odd}; delete that folder to prepare {source} in its place")
        command.say(f"warning: {odd}")
    if info["unreadable"]:
        command.say(
            f"warning: {info['unreadable']} files could not be read; they are named in "
            f"{folder / builder.UNREADABLE}"
        )
    parts = ", ".join(
        f"{name} {part['images']} images of {part['classes']} classes"
        for name, part in info["parts"].items()
        if part["images"]
    )
    command.say(f"{benchmark.name} is {'already ' if there else ''}in {folder}: {parts}")


def turn(benchmark: "Benchmark", root: str, path: str) -> None:
    """Keeps a list of rotations with a prepared set, and says how many images it turns."""
    from abe_jax.data.sources.benchmarks import reading

    with command.options_named():
        count = reading.turn(benchmark, root, path)
    command.say(f"{benchmark.name}: {count:,} images are turned upright when they are read")


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser("prepare", __doc__, example="--dataset cub --source downloads")
    made.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help=f"one of {', '.join(DATASETS)}, or {TFDS}NAME",
    )
    made.add_argument("--source", type=Path, metavar="DIR", help="what the authors hand out")
    made.add_argument(
        "--root",
        default="",
        metavar="DIR",
        help="where prepared data lies; default: $ABE_JAX_DATA, else ~/.cache/abe_jax/data",
    )
    made.add_argument(
        "--rotations", metavar="FILE", help="of holidays: images to turn upright, degrees each"
    )
    made.add_argument(
        "--allow-counts", action="store_true", help="prepare other counts than those published"
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: only --root is taken from a config here")
    name = arguments.dataset
    if name == "folder":
        raise UserError("folder needs no preparation: config.data.path says where the images are")
    if not (name in DATASETS or name.startswith(TFDS)):
        raise UserError(f"--dataset: unknown data set {name!r}; {nearest(name, DATASETS)}")
    from abe_jax.config import build
    from abe_jax.data.sources import SourceOptions, named
    from abe_jax.data.sources.benchmarks.table import BENCHMARKS

    if arguments.rotations and not (name in BENCHMARKS and BENCHMARKS[name].takes_rotations):
        raise UserError(f"--rotations: {name} takes no list of rotations; holidays does")
    if name in BENCHMARKS:
        prepare(BENCHMARKS[name], arguments.source, arguments.root, arguments.allow_counts)
        if arguments.rotations:
            turn(BENCHMARKS[name], arguments.root, arguments.rotations)
        return
    if arguments.source:
        raise UserError(f"--source: {name} needs none; leave it out")
    with build.named("config.data"):
        prepared = named(name, SourceOptions(root=arguments.root)).prepare()
    command.say(f"{name} is in {prepared}")
