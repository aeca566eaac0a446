"""Prepares a data set once: python -m abe_jax.prepare --dataset NAME --source DIR [--root DIR].

DIR holds what the authors of cars196, cub, sop, inshop, imagenet, holidays, ukbench or copydays
hand out, unpacked or not, anywhere below it; nothing is unpacked to disk. A preparation that was
stopped goes on where it was; of a set that is there already nothing is done. Other data sets, such
as glyphs, need no source.
"""

from collections.abc import Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.config import build
from abe_jax.data.sources import DATASETS, SourceOptions, named
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.errors import UserError


def prepare(benchmark: Benchmark, source: Path | None, root: str, any_counts: bool) -> None:
    """Prepares a data set that its authors hand out, and says what is there.

    Raises:
        UserError: no source, the errors of `builder.build`, or other counts than those published
            where such a set is there already and `any_counts` does not allow it.
    """
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


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--dataset", required=True, metavar="NAME", help="of config.data.name")
    parser.add_argument("--source", type=Path, metavar="DIR", help="what the authors hand out")
    parser.add_argument(
        "--root", default="", metavar="DIR", help="prepared data; else $ABE_JAX_DATA"
    )
    parser.add_argument(
        "--allow-counts", action="store_true", help="prepare other counts than those published"
    )
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: only --root is taken from a config here")
    name = arguments.dataset
    if name in BENCHMARKS:
        prepare(BENCHMARKS[name], arguments.source, arguments.root, arguments.allow_counts)
        return
    if name == "folder":
        raise UserError("folder needs no preparation: config.data.path says where the images are")
    if arguments.source and (name in DATASETS or name.startswith("tfds:")):
        raise UserError(f"--source: {name} needs none; leave it out")
    with build.named("config.data"):
        prepared = named(name, SourceOptions(root=arguments.root)).prepare()
    command.say(f"{name} is in {prepared}")
