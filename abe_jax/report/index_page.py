"""The answers of an index as one HTML file with small pictures that needs nothing but itself."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from abe_jax import files
from abe_jax.data.images import decoding
from abe_jax.data.sources import image_files
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError
from abe_jax.index.answers import Answer, Neighbour
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot
from abe_jax.report import answer_words, html, style

SHOWN = 24  # images of a group of duplicates that are shown
_KEY = (
    '<p class="key"><span class="query">query, or itself</span>'
    '<span class="right">✓ within the threshold</span>'
    '<span class="wrong">✗ beyond it</span></p>'
)


def write_answers(
    path: Path, snapshot: Snapshot, answers: Sequence[Answer], *, beyond: bool
) -> None:
    """Writes a page of queries and their neighbours.

    Args:
        path: of the page.
        snapshot: the index that answered.
        answers: one for each query.
        beyond: whether neighbours beyond the threshold, which are no match, are shown too.

    Raises:
        UserError: the page cannot be written.
    """
    threshold = snapshot.threshold
    words = f"The nearest of {snapshot.count:,} images, all compared; {_unit(snapshot)} below each."
    if threshold is not None:
        words += f" A match is at most {threshold.distance:.6g} away ({threshold.wish})."
    body = [_answer(snapshot, answer, beyond) for answer in answers]
    width = max((len(answer.neighbours) for answer in answers), default=0)
    table = html.table(body, heads=["query", *[""] * width], kind="sheet")
    _write(path, "Neighbours", words, [_KEY if threshold is not None else "", table])


def write_duplicates(
    path: Path,
    snapshot: Snapshot,
    groups: Sequence[Sequence[tuple[int, ImageRow]]],
    distance: float,
) -> None:
    """Writes a page of near-duplicates, a row for each group.

    Raises:
        UserError: the page cannot be written.
    """
    words = (
        f"Near-duplicates among {snapshot.count:,} images: those at most {distance:.6g} apart "
        f"({_unit(snapshot)}) are joined into groups."
    )
    body = []
    for number, group in enumerate(groups, start=1):
        cells = [f"<td>{_shot(row.path, row.label, '', '')}</td>" for _, row in group[:SHOWN]]
        more = f" ({len(group) - SHOWN} not shown)" if len(group) > SHOWN else ""
        said = html.text(f"{number}: {len(group)} images{more}")
        body.append(html.row(cells, head=f'<th scope="row">{said}</th>'))
    _write(path, "Near-duplicates", words, [html.table(body, heads=["group"], kind="sheet")])


def _unit(snapshot: Snapshot) -> str:
    return "bits that differ" if snapshot.spec.storage == "binary" else "squared distances"


def _answer(snapshot: Snapshot, answer: Answer, beyond: bool) -> str:
    said = "no match" if answer.match is False else ""
    head = f'<th scope="row">{_shot(answer.query, "", said, "query")}</th>'
    if not answer.readable:
        return html.row(["<td>cannot be read</td>"], head=head)
    listed = [one for one in answer.neighbours if beyond or one.match is not False]
    cells = [f"<td>{_neighbour(snapshot, one)}</td>" for one in listed]
    if not any(one.rank for one in listed):
        cells.append(f"<td>{html.text(answer_words.no_match(snapshot, answer))}</td>")
    return html.row(cells, head=head)


def _neighbour(snapshot: Snapshot, one: Neighbour) -> str:
    distance = answer_words.distance_text(snapshot, one.distance)
    if not one.rank:
        return _shot(one.row.path, one.row.label, f"itself · {distance}", "query")
    kind = {None: "", True: "right", False: "wrong"}[one.match]
    return _shot(one.row.path, one.row.label, f"{one.rank} · {distance}", kind)


def _shot(path: str, label: str, detail: str, kind: str) -> str:
    """One image of the user's with its name, or words instead of an image that cannot be shown."""
    name = shown(label) or shown(os.path.basename(path))
    try:
        image = decoding.pixels(image_files.read(Path(path)))
    except decoding.UnreadableImage:
        picture = '<span class="detail">not there, or cannot be read</span>'
    else:
        picture = html.image(image, name)
    return html.shot(picture, name, kind, detail=detail, title=shown(path))


def _write(path: Path, title: str, words: str, parts: Iterable[str]) -> None:
    lead = f'<p class="lead">{html.text(words)}</p>'
    head = f'<header class="top">\n<h1>{html.text(title)}</h1>\n{lead}\n</header>'
    content = html.document(title, style.css(), head, parts)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    try:
        files.write(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
