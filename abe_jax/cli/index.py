"""Makes and changes an index of images that python -m abe_jax.search looks into.

    python -m abe_jax.index build --workdir RUN | --weights NAME --images DIR|CSV --out INDEX
    python -m abe_jax.index add --index INDEX --images DIR|CSV
    python -m abe_jax.index remove --index INDEX PATH... | --ids ID...
    python -m abe_jax.index info --index INDEX [--verify] [--json]
    python -m abe_jax.index calibrate --index INDEX --images DIR|CSV [--precision 0.95]
    python -m abe_jax.index export --index INDEX --faiss FILE

Each command has its own --help. A command changes the index entirely or leaves it as it was. The
index is a folder that can be moved and holds its network; paths of images are stored absolute.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.config import stored
from abe_jax.errors import ArgumentError, UserError, nearest, require
from abe_jax.index import description, ingest, snapshot
from abe_jax.index.export import export_faiss
from abe_jax.index.image_list import list_images
from abe_jax.index.index import PRECISION, remove_images
from abe_jax.index.manifest import STORAGES

IMAGES = (
    "a folder (every image below it; an image's label is the path of its own folder below it), a "
    "CSV file (column path, if there are labels --label-column, others are kept as metadata), or "
    "one image"
)


def _parser(name: str, says: str) -> command.Parser:
    return command.Parser(
        prog=f"python -m abe_jax.index {name}", description=says, allow_abbrev=False
    )


def _with_index(name: str, says: str) -> command.Parser:
    parser = _parser(name, says)
    parser.add_argument("--index", required=True, type=Path, metavar="INDEX", help="its folder")
    return parser


def _add_images(parser: command.Parser) -> None:
    parser.add_argument("--images", required=True, type=Path, metavar="DIR|CSV", help=IMAGES)
    parser.add_argument(
        "--label-column", metavar="NAME", help="of a CSV file; default: label, if it is there"
    )


def _arguments(parser: command.Parser, argv: Sequence[str]) -> argparse.Namespace:
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: an index is made as its network's config says")
    return arguments


def build(argv: Sequence[str]) -> None:
    """Embeds images and makes an index of them."""
    parser = _parser("build", "Makes an index of images, with the network that embeds them.")
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--workdir", type=Path, metavar="RUN", help="a run: its best checkpoint")
    network.add_argument(
        "--weights",
        metavar="NAME",
        help="no run: weights by name, such as efficientnet-lite0, or an .npz of abe_jax.convert",
    )
    _add_images(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="INDEX", help="a new folder")
    parser.add_argument(
        "--storage", default="float32", metavar="KIND", help=f"{', '.join(STORAGES)}"
    )
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="images embedded at once, in searches too; default: as the run is evaluated",
    )
    arguments = _arguments(parser, argv)
    require("storage", arguments.storage, STORAGES)
    if arguments.batch is not None and arguments.batch < 1:
        raise ArgumentError("batch", f"must be 1 image or more, not {arguments.batch}")
    ingest.require_free(arguments.out)
    images = list_images(arguments.images, arguments.label_column)
    embedder = (
        stored.embedder_of_run(arguments.workdir)
        if arguments.workdir
        else stored.embedder_of_weights(arguments.weights)
    )
    if arguments.batch:
        embedder = stored.in_batches_of(embedder, arguments.batch)
    _say_result(arguments.out, ingest.build(arguments.out, embedder, arguments.storage, images))


def add(argv: Sequence[str]) -> None:
    """Embeds more images into an index."""
    says = (
        "Adds images; those that have changed are replaced, those that have not are left. A label "
        "stays where no other is given."
    )
    parser = _with_index("add", says)
    _add_images(parser)
    arguments = _arguments(parser, argv)
    index = stored.index(arguments.index)
    _say_result(index.folder, index.add(arguments.images, label_column=arguments.label_column))


def _say_result(folder: Path, result: ingest.IngestResult) -> None:
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (result.added, "added"),
            (result.replaced, "replaced"),
            (result.unchanged, "unchanged"),
        )
        if number or what == "added"
    ]
    command.say(f"{folder}: {', '.join(parts)}; {snapshot.read(folder).count:,} images")
    if result.unreadable:
        command.say(
            f"warning: {len(result.unreadable):,} files cannot be read, named in "
            f"{folder / ingest.UNREADABLE}"
        )
    if result.damaged:
        command.say(
            f"warning: {len(result.damaged):,} files are damaged inside, but used, named in "
            f"{folder / ingest.DAMAGED}"
        )


def remove(argv: Sequence[str]) -> None:
    """Removes images from an index."""
    says = "Removes images from the index, by path (of a folder: all below it) or by id."
    parser = _with_index("remove", says)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="an image or a folder of images")
    parser.add_argument("--ids", nargs="+", type=int, default=[], metavar="ID")
    arguments = _arguments(parser, argv)
    if bool(arguments.paths) == bool(arguments.ids):
        raise UserError("remove takes paths, or --ids and no paths")
    count = remove_images(arguments.index, arguments.paths, arguments.ids)
    left = snapshot.read(arguments.index).count
    command.say(f"{arguments.index}: {count:,} removed; {left:,} images")


def info(argv: Sequence[str]) -> None:
    """Says what an index holds."""
    parser = _with_index("info", "Says what the index holds.")
    parser.add_argument("--verify", action="store_true", help="read every file, prove it undamaged")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = _arguments(parser, argv)
    now = snapshot.read(arguments.index)
    if arguments.verify:
        snapshot.verify(now)
        now = stored.index(arguments.index).snapshot
    described = description.describe(now) | ({"verified": True} if arguments.verify else {})
    if arguments.json:
        command.say(json.dumps(described, indent=1))
        return
    command.say(description.text(described))
    if arguments.verify:
        command.say("every file is what was written")


def export(argv: Sequence[str]) -> None:
    """Writes an index for faiss."""
    parser = _with_index("export", "Writes the vectors for faiss, under the index's ids.")
    parser.add_argument("--faiss", required=True, type=Path, metavar="FILE", help="a new file")
    arguments = _arguments(parser, argv)
    now = snapshot.read(arguments.index)
    export_faiss(now, arguments.faiss)
    command.say(f"{arguments.faiss}: {now.count:,} vectors")


def calibrate(argv: Sequence[str]) -> None:
    """Finds the distance up to which a neighbour is a match."""
    says = (
        "Finds the greatest distance that counts as a match, from labelled images, each a query "
        "whose own path does not count; search then says 'no match' beyond it."
    )
    parser = _with_index("calibrate", says)
    _add_images(parser)
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument(
        "--precision",
        type=float,
        metavar="P",
        help="of the nearest neighbours that are matches, so many have the query's label; "
        f"default: {PRECISION}",
    )
    goal.add_argument(
        "--false-match-rate",
        type=float,
        metavar="R",
        help="so many queries at most match another label where nothing of their own is indexed",
    )
    arguments = _arguments(parser, argv)
    index = stored.index(arguments.index)
    index.calibrate(
        arguments.images,
        precision=arguments.precision,
        false_match_rate=arguments.false_match_rate,
        label_column=arguments.label_column,
        say=command.say,
    )
    command.say(description.text(description.describe(index.snapshot)))


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "build": build,
    "add": add,
    "remove": remove,
    "info": info,
    "calibrate": calibrate,
    "export": export,
}


def main(argv: Sequence[str]) -> None:
    """The command line."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if argv else 2)
    if argv[0] not in COMMANDS:
        raise UserError(f"{argv[0]}: no such command; {nearest(argv[0], COMMANDS)}")
    with command.options_named(folder="--out"):
        COMMANDS[argv[0]](argv[1:])
