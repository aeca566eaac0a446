"""Makes and changes an index of images that python -m abe_jax.search looks into.

    python -m abe_jax.index build --workdir RUN | --weights NAME --images DIR|CSV --out INDEX
    python -m abe_jax.index add --index INDEX --images DIR|CSV
    python -m abe_jax.index remove --index INDEX PATH... | --ids ID...
    python -m abe_jax.index info --index INDEX [--verify] [--json]
    python -m abe_jax.index calibrate --index INDEX --images DIR|CSV [--precision 0.95]
    python -m abe_jax.index export --index INDEX --faiss FILE

Each command has its own --help. A command changes the index as a whole or leaves it as it was. The
index is a folder that can be moved and holds its network; paths of images are stored absolute.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.errors import UserError, nearest
from abe_jax.evaluation import embedder
from abe_jax.index import answers, calibration, description, ingest, removal, snapshot, store
from abe_jax.index.export import export_faiss
from abe_jax.index.manifest import STORAGES
from abe_jax.index.selection import named

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
    if arguments.storage not in STORAGES:
        raise UserError(f"--storage {arguments.storage}: {nearest(arguments.storage, STORAGES)}")
    if arguments.batch is not None and arguments.batch < 1:
        raise UserError(f"--batch {arguments.batch}: 1 image or more")
    ingest.require_free(arguments.out)
    wanted = named(arguments.images, arguments.label_column)
    of = (
        embedder.of_run(arguments.workdir)
        if arguments.workdir
        else embedder.of_weights(arguments.weights)
    )
    if arguments.batch:
        of = of.in_batches_of(arguments.batch)
    _tell(arguments.out, ingest.build(arguments.out, of, arguments.storage, wanted))


def add(argv: Sequence[str]) -> None:
    """Embeds more images into an index."""
    says = (
        "Adds images; those that have changed are replaced, those that have not are left. A label "
        "stays where no other is given."
    )
    parser = _with_index("add", says)
    _add_images(parser)
    arguments = _arguments(parser, argv)
    _, of = answers.opened(arguments.index)
    wanted = named(arguments.images, arguments.label_column)
    _tell(arguments.index, ingest.add(arguments.index, of, wanted))


def _tell(folder: Path, outcome: ingest.Outcome) -> None:
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (outcome.added, "added"),
            (outcome.replaced, "replaced"),
            (outcome.unchanged, "unchanged"),
        )
        if number or what == "added"
    ]
    command.say(f"{folder}: {', '.join(parts)}; {snapshot.read(folder).count:,} images")
    if outcome.unreadable:
        command.say(
            f"warning: {len(outcome.unreadable):,} files cannot be read, named in "
            f"{folder / ingest.UNREADABLE}"
        )


def remove(argv: Sequence[str]) -> None:
    """Takes images out of an index."""
    says = "Takes images out of the index, by path (of a folder: all below it) or by id."
    parser = _with_index("remove", says)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="an image or a folder of images")
    parser.add_argument("--ids", nargs="+", type=int, default=[], metavar="ID")
    arguments = _arguments(parser, argv)
    if bool(arguments.paths) == bool(arguments.ids):
        raise UserError("remove takes paths, or --ids and no paths")
    found = snapshot.read(arguments.index)
    ids = (
        removal.held(found, arguments.ids) if arguments.ids else removal.at(found, arguments.paths)
    )
    count = store.remove(arguments.index, ids)
    left = snapshot.read(arguments.index).count
    command.say(f"{arguments.index}: {count:,} removed; {left:,} images")


def info(argv: Sequence[str]) -> None:
    """Says what an index holds."""
    parser = _with_index("info", "Says what the index holds.")
    parser.add_argument("--verify", action="store_true", help="read every file, prove it whole")
    parser.add_argument("--json", action="store_true", help="for machines")
    arguments = _arguments(parser, argv)
    found = snapshot.read(arguments.index)
    if arguments.verify:
        snapshot.verify(found)
        found, _ = answers.opened(arguments.index)
    said = description.described(found) | ({"verified": True} if arguments.verify else {})
    if arguments.json:
        command.say(json.dumps(said, indent=1))
        return
    command.say(description.text(said))
    if arguments.verify:
        command.say("every file is what was written")


def export(argv: Sequence[str]) -> None:
    """Writes an index for faiss."""
    parser = _with_index("export", "Writes the vectors for faiss, under the index's ids.")
    parser.add_argument("--faiss", required=True, type=Path, metavar="FILE", help="a new file")
    arguments = _arguments(parser, argv)
    found = snapshot.read(arguments.index)
    export_faiss(found, arguments.faiss)
    command.say(f"{arguments.faiss}: {found.count:,} vectors")


def calibrate(argv: Sequence[str]) -> None:
    """Finds the distance up to which a neighbour is a match."""
    says = (
        "Finds the greatest distance that counts as a match, from labelled images, each a query "
        "whose own path does not count; search then says 'no match' beyond it."
    )
    parser = _with_index("calibrate", says)
    _add_images(parser)
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument(
        "--precision",
        type=float,
        metavar="P",
        help="of the nearest neighbours that are matches, so many have the query's label; "
        "default: 0.95",
    )
    wish.add_argument(
        "--false-match-rate",
        type=float,
        metavar="R",
        help="so many queries at most match another label where nothing of their own is indexed",
    )
    arguments = _arguments(parser, argv)
    found, of = answers.opened(arguments.index)
    wanted = named(arguments.images, arguments.label_column)
    measured = calibration.of_images(found, of, wanted, command.say)
    if arguments.false_match_rate is not None:
        threshold = calibration.by_false_matches(measured, arguments.false_match_rate)
    else:
        wished = 0.95 if arguments.precision is None else arguments.precision
        threshold = calibration.by_precision(measured, wished)
    told = {**threshold.measured, "indexed": found.count}
    store.set_threshold(arguments.index, dataclasses.replace(threshold, measured=told))
    command.say(description.text(description.described(snapshot.read(arguments.index))))


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
    COMMANDS[argv[0]](argv[1:])
