"""What `abe_jax.search` prints: the neighbours of each image, or groups of near-duplicates."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from abe_jax.cli import command
from abe_jax.config import stored
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError
from abe_jax.index import snapshot
from abe_jax.index.answers import Answer, Neighbour
from abe_jax.index.index import near_duplicates
from abe_jax.index.snapshot import Snapshot
from abe_jax.report import answer_words


def search(arguments: argparse.Namespace) -> None:
    """Answers each image."""
    index = stored.index(arguments.index)
    now, answers = index.snapshot, index.search(arguments.images, arguments.k)
    if arguments.html:
        from abe_jax.report import index_page  # with matplotlib, half a second

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
    without = answer_words.no_match(now, answer)
    return [*lines, f"  {without}"] if without else lines


def _cells(now: Snapshot, one: Neighbour, marked: bool) -> list[str]:
    beyond = ["beyond" if one.match is False else ""] if marked else []
    rank = str(one.rank) if one.rank else "itself"
    distance = answer_words.distance_text(now, one.distance)
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
        from abe_jax.report import index_page

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
