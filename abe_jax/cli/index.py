"""Makes and changes an index of images that python -m abe_jax.search looks into.

    python -m abe_jax.index build --workdir RUN | --weights NAME --images DIR|CSV --out INDEX
    python -m abe_jax.index add --index INDEX --images DIR|CSV
    python -m abe_jax.index sync --index INDEX --images DIR|CSV [--dry-run]
    python -m abe_jax.index remove --index INDEX PATH... | --ids ID...
    python -m abe_jax.index info --index INDEX [--verify] [--json]
    python -m abe_jax.index calibrate --index INDEX --images DIR|CSV [--precision 0.95]
    python -m abe_jax.index export --index INDEX --faiss FILE

Each command has its own --help. A command changes the index entirely or leaves it as it was. The
index is a folder that can be moved and holds its network; paths of images are stored absolute.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from abe_jax.cli import command, several
from abe_jax.errors import ArgumentError, UserError, nearest, require
from abe_jax.index import manifest
from abe_jax.index.defaults import PRECISION
from abe_jax.index.manifest import STORAGES

IMAGES = (
    "a folder (every image below it; an image's label is its class: the first folder below this "
    "one, or below its train, val, test, query or gallery), a CSV file (column path, if there are "
    "labels --label-column, others are kept as metadata), or one image"
)


def _with_index(name: str, says: str, example: str) -> command.Parser:
    parser = command.Parser(f"index {name}", says, example=example)
    parser.add_argument("--index", required=True, type=Path, metavar="INDEX", help="its folder")
    return parser


def _add_images(parser: command.Parser) -> None:
    parser.add_argument("--images", required=True, type=Path, metavar="DIR|CSV", help=IMAGES)
    parser.add_argument(
        "--label-column", metavar="NAME", help="of a CSV file; default: label, if it is there"
    )


def build() -> command.Parser:
    """The arguments of `index build`."""
    parser = command.Parser(
        "index build",
        "Makes an index of images, with the network that embeds them.",
        example="--weights efficientnet-lite0 --images photos --out photos.index",
    )
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
        "--storage",
        default="float32",
        metavar="KIND",
        help=f"of the vectors: {', '.join(STORAGES)}; default: float32",
    )
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument(
        "--size",
        type=command.size,
        metavar="PX",
        help="side of the images as the network sees them, of rectangles the longer, or "
        "HEIGHTxWIDTH; default: its own",
    )
    command.add_longest(seen)
    parser.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="images embedded at once, in searches too; default: as the run is evaluated",
    )
    several.add_hosts(parser)
    return parser


def add() -> command.Parser:
    """The arguments of `index add`."""
    says = (
        "Adds images; those that have changed are replaced, those that have not are left. A label "
        "stays where no other is given."
    )
    parser = _with_index("add", says, "--index photos.index --images photos")
    _add_images(parser)
    return parser


def sync() -> command.Parser:
    """The arguments of `index sync`."""
    says = (
        "Makes the index follow a folder: what was added, removed, moved or changed there. Files "
        "are known again by content, so that only new and changed ones are embedded. Images "
        "outside of the folder (of a CSV file: of its own) stay. All of it is done, or nothing."
    )
    parser = _with_index("sync", says, "--index photos.index --images photos")
    _add_images(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, change nothing"
    )
    parser.add_argument(
        "--verify-content",
        action="store_true",
        help="read every file, also those of the same path, size and time of change",
    )
    return parser


def remove() -> command.Parser:
    """The arguments of `index remove`."""
    says = "Removes images from the index, by path (of a folder: all below it) or by id."
    parser = _with_index("remove", says, "--index photos.index photos/old")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="an image or a folder of images")
    parser.add_argument(
        "--ids", nargs="+", type=int, default=[], metavar="ID", help="as search --json names them"
    )
    return parser


def info() -> command.Parser:
    """The arguments of `index info`."""
    parser = _with_index("info", "Says what the index holds.", "--index photos.index --verify")
    parser.add_argument("--verify", action="store_true", help="read every file, prove it undamaged")
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


def export() -> command.Parser:
    """The arguments of `index export`."""
    says = "Writes the vectors for faiss, under the index's ids."
    parser = _with_index("export", says, "--index photos.index --faiss photos.faiss")
    parser.add_argument("--faiss", required=True, type=Path, metavar="FILE", help="a new file")
    return parser


def calibrate() -> command.Parser:
    """The arguments of `index calibrate`."""
    says = (
        "Finds the greatest distance that counts as a match, from labelled images, each a query "
        "whose own path does not count; search then says 'no match' beyond it."
    )
    parser = _with_index("calibrate", says, "--index photos.index --images photos --precision 0.95")
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
    return parser


COMMANDS: dict[str, Callable[[], command.Parser]] = {
    "build": build,
    "add": add,
    "sync": sync,
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
    name = argv[0]
    if name not in COMMANDS:
        raise UserError(f"{name}: no such command; {nearest(name, COMMANDS)}")
    arguments, overrides = COMMANDS[name]().parse(argv[1:])
    if overrides:
        raise UserError(f"--config.{overrides[0]}: an index is made as its network's config says")
    with command.options_named(folder="--out"):
        _check(name, arguments)
        if name == "build":
            several.join_hosts(arguments)  # before JAX is imported
        from abe_jax.cli import index_commands

        index_commands.RUN[name](arguments)


def _check(name: str, arguments: argparse.Namespace) -> None:
    if name == "build":
        require("storage", arguments.storage, STORAGES)
        if arguments.batch is not None and arguments.batch < 1:
            raise ArgumentError("batch", f"must be 1 image or more, not {arguments.batch}")
        return
    if name == "remove" and bool(arguments.paths) == bool(arguments.ids):
        raise UserError("remove takes paths, or --ids and no paths")
    manifest.load(arguments.index)
