"""Finds the images of an index that are nearest to others, or the near-duplicates in it.

Every image of the index is compared. Where the index has a threshold (abe_jax.index calibrate),
only neighbours within it are listed, and where there is none the answer is "no match"; --all lists
the others too. A query that is in the index under its own path is marked "itself".
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError
from abe_jax.index import manifest
from abe_jax.index.defaults import COSINE

K = 10
EXAMPLES = """\
--index photos.index query.jpg --k 10
--index photos.index --duplicates --html duplicates.html"""


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser("search", __doc__, example=EXAMPLES)
    made.add_argument("--index", required=True, type=Path, metavar="INDEX", help="its folder")
    made.add_argument("images", nargs="*", metavar="IMAGE", help="image files to look for")
    made.add_argument("--k", type=int, metavar="K", help=f"neighbours of each; default: {K}")
    made.add_argument("--all", action="store_true", help="also neighbours that are no match")
    made.add_argument("--html", type=Path, metavar="OUT.html", help="write a page with pictures")
    made.add_argument("--json", action="store_true", help="print for machines")
    made.add_argument("--duplicates", action="store_true", help="groups of images that are alike")
    limit = made.add_mutually_exclusive_group()
    limit.add_argument(
        "--cosine",
        type=float,
        metavar="C",
        help=f"of duplicates, at least; default: {COSINE}",
    )
    limit.add_argument(
        "--distance", type=float, metavar="D", help="of duplicates, at most, as search prints it"
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: an index is searched by its own network")
    _check(arguments)
    manifest.load(arguments.index)
    from abe_jax.cli import search_answers

    with command.options_named():
        (search_answers.duplicates if arguments.duplicates else search_answers.search)(arguments)


def _check(arguments: argparse.Namespace) -> None:
    page = arguments.html
    if page and page.suffix.lower() not in (".html", ".htm"):  # an image, it would be lost
        raise UserError(f"--html {shown(str(page))}: name the page to write, which ends in .html")
    if arguments.duplicates:
        if arguments.images or arguments.k is not None or arguments.all:
            raise UserError("--duplicates compares the index with itself: no images, --k or --all")
    else:
        if not arguments.images:
            raise UserError("name images to look for, or --duplicates")
        if arguments.cosine is not None or arguments.distance is not None:
            raise UserError("--cosine and --distance go with --duplicates")
        arguments.k = K if arguments.k is None else arguments.k
