"""Finds the images of an index that are nearest to others, or the near-duplicates in it.

    python -m abe_jax.search --index INDEX IMAGE... [--k 10] [--all] [--html OUT.html] [--json]
    python -m abe_jax.search --index INDEX --duplicates [--cosine 0.95 | --distance D]

Every image of the index is compared. Where the index has a threshold (abe_jax.index calibrate),
only neighbours within it are listed, and where there is none the answer is "no match"; --all lists
the others too. A query that is in the index under its own path is marked "itself".
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abe_jax.cli import command
from abe_jax.config import stored
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError
from abe_jax.index import snapshot
from abe_jax.index.answers import Answer, Neighbour
from abe_jax.index.index import COSINE, near_duplicates
from abe_jax.index.snapshot import Snapshot
from abe_jax.report import index_page

K = 10


def search(arguments: argparse.Namespace) -> None:
    """Answers each image."""
    index = stored.index(arguments.index)
    now, answers = index.snapshot, index.search(arguments.images, arguments.k)
    if arguments.html:
        index_page.write_answers(arguments.html, now, answers, beyond=arguments.all)
    if arguments.json:
        limit = now.threshold.distance if now.threshold else None
        about = {"index": str(arguments.index), "threshold": limit}
        command.say(json.dumps({**about, "results": [_plain(one) for one in answers]}, indent=1))
    else:
        for answer in answers:
            command.say("\n".join(_lines(now, answer, arguments.all)))
    if not any(answer.readable for answer in answers):
        raise UserError("none of the images can be read")


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "query": answer.query,
        "readable": answer.readable,
        "match": answer.match,
        "neighbours": [
            {
                "rank": one.rank,
                "itself": one.rank == 0,
                "distance": one.distance,
                "match": one.match,
                "id": one.id,
                "label": one.row.label,
                "path": one.row.path,
                "metadata": dict(one.row.metadata),
            }
            for one in answer.neighbours
        ],
    }


def _lines(now: Snapshot, answer: Answer, list_all: bool) -> list[str]:
    """One answer as text: a line for each neighbour."""
    name = shown(answer.query)
    if not answer.readable:
        return [f"{name}: cannot be read"]
    listed = [one for one in answer.neighbours if list_all or one.match is not False]
    marked = any(one.match is False for one in listed)
    cells = [_cells(now, one, marked) for one in listed]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [name, *("  " + _line(row, widths) for row in cells)]
    without = index_page.no_match(now, answer)
    return [*lines, f"  {without}"] if without else lines


def _cells(now: Snapshot, one: Neighbour, marked: bool) -> list[str]:
    beyond = ["beyond" if one.match is False else ""] if marked else []
    rank = str(one.rank) if one.rank else "itself"
    distance = index_page.distance_text(now, one.distance)
    return [rank, distance, *beyond, shown(one.row.label), shown(one.row.path)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].rjust(widths[0])
    others = [cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([first, *others]).rstrip()


def duplicates(arguments: argparse.Namespace) -> None:
    """Lists groups of near-duplicates."""
    now = snapshot.read(arguments.index)
    distance, groups = near_duplicates(now, cosine=arguments.cosine, distance=arguments.distance)
    if arguments.html:
        index_page.write_duplicates(arguments.html, now, groups, distance)
    if arguments.json:
        plain = [
            [{"id": id_, "label": row.label, "path": row.path} for id_, row in group]
            for group in groups
        ]
        command.say(json.dumps({"distance": distance, "groups": plain}, indent=1))
        return
    for number, group in enumerate(groups, start=1):
        command.say(f"group {number}: {len(group)} images")
        command.say("\n".join(f"  {id_}  {shown(row.path)}" for id_, row in group))
    images = sum(map(len, groups))
    command.say(
        f"{images:,} of {now.count:,} images in {len(groups):,} groups of pairs at most "
        f"{distance:.6g} apart"
    )


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(
        prog="python -m abe_jax.search",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--index", required=True, type=Path, metavar="INDEX", help="its folder")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files to look for")
    parser.add_argument("--k", type=int, metavar="K", help=f"neighbours of each; default: {K}")
    parser.add_argument("--all", action="store_true", help="also neighbours that are no match")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write a page with pictures")
    parser.add_argument("--json", action="store_true", help="print for machines")
    parser.add_argument("--duplicates", action="store_true", help="groups of images that are alike")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--cosine", type=float, metavar="C", help=f"of duplicates, at least; default: {COSINE}"
    )
    limit.add_argument(
        "--distance", type=float, metavar="D", help="of duplicates, at most, as search prints it"
    )
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: an index is searched by its own network")
    _check(arguments)
    with command.options_named():
        (duplicates if arguments.duplicates else search)(arguments)


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
