"""What an index found, as one HTML file with small pictures that needs nothing but itself."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from abe_jax.config import Data
from abe_jax.data.images import preprocessing
from abe_jax.data.sources import folder
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError
from abe_jax.index.answers import Answer, Neighbour
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot
from abe_jax.report import html, style

SHOWN = 24  # images of a group of duplicates that are shown
_COLOUR = Data(name="folder")
_KEY = (
    '<p class="key"><span class="query">query, or itself</span>'
    '<span class="right">✓ within the threshold</span>'
    '<span class="wrong">✗ beyond it</span></p>'
)


def of_answers(path: Path, found: Snapshot, given: Sequence[Answer], *, whole: bool) -> None:
    """Writes a page of queries and their neighbours; `whole`: also of those that are no match.

    Raises:
        UserError: the page cannot be written.
    """
    limit = found.threshold
    words = f"The nearest of {found.count:,} images, all compared; {_unit(found)} below each."
    if limit is not None:
        words += f" A match is at most {limit.distance:.6g} away ({limit.wish})."
    body = [_answer(found, answer, whole) for answer in given]
    width = max((len(answer.neighbours) for answer in given), default=0)
    table = html.table(body, heads=["query", *[""] * width], kind="sheet")
    _write(path, "Neighbours", words, [_KEY if limit is not None else "", table])


def of_groups(
    path: Path, found: Snapshot, groups: Sequence[Sequence[tuple[int, ImageRow]]], distance: float
) -> None:
    """Writes a page of near-duplicates, a row for each group; errors as of `of_answers`."""
    words = (
        f"Groups of {found.count:,} images that pairs at most {distance:.6g} apart join "
        f"({_unit(found)})."
    )
    body = []
    for number, group in enumerate(groups, start=1):
        cells = [f"<td>{_shot(row.path, row.label, '', '')}</td>" for _, row in group[:SHOWN]]
        more = f" ({len(group) - SHOWN} not shown)" if len(group) > SHOWN else ""
        said = html.text(f"{number}: {len(group)} images{more}")
        body.append(html.row(cells, head=f'<th scope="row">{said}</th>'))
    _write(path, "Near-duplicates", words, [html.table(body, heads=["group"], kind="sheet")])


def apart(found: Snapshot, distance: float) -> str:
    """A distance as text: squared in four digits, or a number of bits."""
    return f"{distance:.{0 if found.spec.storage == 'binary' else 4}f}"


def no_match(found: Snapshot, answer: Answer) -> str:
    """The words for a query without a match, or with no neighbour at all; '' where it has one."""
    others = [one for one in answer.neighbours if one.rank]
    if not others:
        said = "no match: " if answer.match is False else ""
        return f"{said}the index holds no other image"
    if answer.match is not False:
        return ""
    limit = found.threshold
    beyond = f", beyond {apart(found, limit.distance)}" if limit else ""
    return f"no match: the nearest is at {apart(found, others[0].distance)}{beyond}"


def _unit(found: Snapshot) -> str:
    return "bits that differ" if found.spec.storage == "binary" else "squared distances"


def _answer(found: Snapshot, answer: Answer, whole: bool) -> str:
    said = "no match" if answer.match is False else ""
    head = f'<th scope="row">{_shot(answer.query, "", said, "query")}</th>'
    if not answer.readable:
        return html.row(["<td>cannot be read</td>"], head=head)
    listed = [one for one in answer.neighbours if whole or one.match is not False]
    cells = [f"<td>{_neighbour(found, one)}</td>" for one in listed]
    if not any(one.rank for one in listed):
        cells.append(f"<td>{html.text(no_match(found, answer))}</td>")
    return html.row(cells, head=head)


def _neighbour(found: Snapshot, one: Neighbour) -> str:
    distance = apart(found, one.distance)
    if not one.rank:
        return _shot(one.row.path, one.row.label, f"itself · {distance}", "query")
    kind = {None: "", True: "right", False: "wrong"}[one.match]
    return _shot(one.row.path, one.row.label, f"{one.rank} · {distance}", kind)


def _shot(path: str, label: str, detail: str, kind: str) -> str:
    """One image of the user's with its name; words in its place where it cannot be shown."""
    mark = {"right": "<b>✓</b> ", "wrong": "<b>✗</b> "}.get(kind, "")
    name = shown(label) or shown(os.path.basename(path))
    line = f'<span class="detail">{html.text(detail)}</span>' if detail else ""
    try:
        picture = html.image(preprocessing.pixels(folder.read(Path(path)), _COLOUR), name)
    except preprocessing.UnreadableImage:
        picture = '<span class="detail">not there, or cannot be read</span>'
    return (
        f'<span class="shot {kind}" title="{html.text(shown(path))}">{picture}'
        f'<span class="name">{mark}{html.text(name)}</span>{line}</span>'
    )


def _write(path: Path, title: str, words: str, parts: Iterable[str]) -> None:
    lead = f'<p class="lead">{html.text(words)}</p>'
    head = f'<header class="top">\n<h1>{html.text(title)}</h1>\n{lead}\n</header>'
    foot = "Written by abe_jax. This page is one file and loads nothing."
    content = html.document(title, style.css(), head, parts, foot)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.encode())
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
