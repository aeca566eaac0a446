"""What an index answers about images: neighbours, which of them match, and the query itself."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.image_files import Files
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.search import NearestRows, nearest_rows
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import copy_distance, is_match


class Neighbour(NamedTuple):
    """A row of the index near a query."""

    id: int
    row: ImageRow
    distance: float
    rank: int  # from 1; 0 is the query itself, under its own path
    match: bool | None  # within the threshold; None where the index has none


class Answer(NamedTuple):
    """The neighbours of one query, nearest first.

    `match` tells whether the nearest one apart from the query itself is within the threshold: False
    is "no match", None says that the index has no threshold. An image that cannot be read has
    neither; `readable` is then False.
    """

    query: str
    neighbours: tuple[Neighbour, ...]
    match: bool | None
    readable: bool = True


def answer_images(
    snapshot: Snapshot, embedder: Embedder, paths: Sequence[str], k: int
) -> list[Answer]:
    """The k nearest images of each image at `paths`, and the image itself where it is indexed.

    Raises:
        UserError: k is below 1 (ArgumentError), or a file is not there.
    """
    if k < 1:
        raise ArgumentError("k", f"must be 1 neighbour or more, not {k}")
    for path in paths:
        _require_file(path)
    embedded = embedder.embed(Files(Path(), list(paths)))
    answers = [Answer(path, (), None, readable=False) for path in paths]
    readable = [int(i) for i in embedded.image_ids]
    of_readable = answer_vectors(snapshot, embedded.vectors, [paths[i] for i in readable], k)
    for i, answer in zip(readable, of_readable, strict=True):
        answers[i] = answer
    return answers


def answer_vectors(
    snapshot: Snapshot, vectors: Float[np.ndarray, "q m d"], paths: Sequence[str], k: int
) -> list[Answer]:
    """As `answer_images`, of images that are embedded already."""
    if not len(vectors):
        return []
    k = min(k, max(snapshot.count, 1))
    nearest = nearest_rows(snapshot, vectors, k + 1)  # one more, for the query itself
    answers = []
    for i, path in enumerate(paths):
        own = NearestRows(nearest.distances[i : i + 1], nearest.ids[i : i + 1])
        answers.append(_answer(snapshot, path, _with_itself(snapshot, vectors[[i]], path, own), k))
    return answers


def _with_itself(
    snapshot: Snapshot, vector: Float[np.ndarray, "1 m d"], path: str, nearest: NearestRows
) -> NearestRows:
    """More neighbours, until the query is among them or all of its copies are.

    Copies of an image under other paths are as near as itself, and would hide it.
    """
    own, copy = os.path.abspath(path), copy_distance(snapshot.spec)
    while nearest.ids[0, -1] >= 0 and nearest.distances[0, -1] <= copy:
        if any(snapshot.row(int(id_)).path == own for id_ in nearest.ids[0]):
            break
        nearest = nearest_rows(snapshot, vector, 4 * nearest.ids.shape[1])
    return nearest


def _answer(snapshot: Snapshot, path: str, nearest: NearestRows, k: int) -> Answer:
    own, threshold, listed = os.path.abspath(path), snapshot.threshold, list[Neighbour]()
    others = 0
    for distance, id_ in zip(nearest.distances[0].tolist(), nearest.ids[0].tolist(), strict=True):
        if id_ < 0:
            break
        row = snapshot.row(id_)
        others += row.path != own
        rank = 0 if row.path == own else others
        match = threshold and is_match(distance, threshold.distance, snapshot.spec)
        if rank <= k:
            listed.append(Neighbour(id_, row, distance, rank, match))
    first = next((neighbour for neighbour in listed if neighbour.rank), None)
    match = None if threshold is None else bool(first and first.match)
    return Answer(path, tuple(listed), match)


def _require_file(path: str) -> None:
    if os.path.isdir(path):
        raise UserError(f"{shown(path)}: is a folder; name images")
    if not os.path.lexists(path):
        raise UserError(f"{shown(path)}: no such file")
