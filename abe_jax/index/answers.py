"""What an index answers about images: neighbours, which of them match, and the query itself."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.folder import Files
from abe_jax.errors import UserError
from abe_jax.evaluation import embedder
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index import snapshot
from abe_jax.index.ingest import MODEL
from abe_jax.index.search import Found, nearest
from abe_jax.index.segments import Row
from abe_jax.index.snapshot import Snapshot

COPY = 1e-4  # squared distance up to which an image may be the query itself, stored in float16


class Neighbour(NamedTuple):
    """A row of the index beside a query."""

    id: int
    row: Row
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


def opened(folder: Path) -> tuple[Snapshot, Embedder]:
    """An index and its own network.

    Raises:
        UserError: no index, damage, or a network that is not the one of the vectors.
    """
    found = snapshot.read(folder)
    of = embedder.load(folder / MODEL)
    if of.fingerprint != found.spec.fingerprint:
        raise UserError(
            f"{folder / MODEL}: is not the network that the index's vectors are of; take the "
            "folder from where the index was built, or build it again"
        )
    return found, of


def answers(found: Snapshot, of: Embedder, paths: Sequence[str], k: int) -> list[Answer]:
    """The k nearest images of each image at `paths`, and the image itself where it is indexed.

    Raises:
        UserError: k is not above 0, or a file is not there.
    """
    if k < 1:
        raise UserError(f"--k {k}: ask for 1 neighbour or more")
    for path in paths:
        _require_file(path)
    embedded = of.embed(Files(Path(), list(paths)))
    given = [Answer(path, (), None, readable=False) for path in paths]
    read = [int(i) for i in embedded.instances]
    answered = of_vectors(found, embedded.vectors, [paths[i] for i in read], k)
    for i, answer in zip(read, answered, strict=True):
        given[i] = answer
    return given


def of_vectors(
    found: Snapshot, vectors: Float[np.ndarray, "q m d"], paths: Sequence[str], k: int
) -> list[Answer]:
    """`answers` of images that are embedded already."""
    if not len(vectors):
        return []
    k = min(k, max(found.count, 1))
    near = nearest(found, vectors, k + 1)  # one more, for the query itself
    given = []
    for i, path in enumerate(paths):
        first = Found(near.distances[i : i + 1], near.ids[i : i + 1])
        reached = _reaching(found, vectors[i : i + 1], path, first)
        given.append(_answer(found, path, reached.distances[0], reached.ids[0], k))
    return given


def _reaching(found: Snapshot, vector: Float[np.ndarray, "1 m d"], path: str, near: Found) -> Found:
    """As deep as there are copies of the query, which would else hide it under its own path."""
    own = os.path.abspath(path)
    while near.ids[0, -1] >= 0 and near.distances[0, -1] <= COPY:
        if any(found.row(int(id_)).path == own for id_ in near.ids[0]):
            break
        near = nearest(found, vector, 4 * near.ids.shape[1])
    return near


def _answer(
    found: Snapshot,
    path: str,
    distances: Float[np.ndarray, " k"],
    ids: np.ndarray,
    k: int,
) -> Answer:
    own, limit, listed = os.path.abspath(path), found.threshold, list[Neighbour]()
    counted = 0
    for distance, id_ in zip(distances.tolist(), ids.tolist(), strict=True):
        if id_ < 0:
            break
        row = found.row(id_)
        counted += row.path != own
        rank = 0 if row.path == own else counted
        match = None if limit is None else distance <= limit.distance
        if rank <= k:
            listed.append(Neighbour(id_, row, distance, rank, match))
    others = [one for one in listed if one.rank]
    match = None if limit is None else bool(others and others[0].match)
    return Answer(path, tuple(listed), match)


def _require_file(path: str) -> None:
    if os.path.isdir(path):
        raise UserError(f"{shown(path)}: is a folder; name images")
    if not os.path.lexists(path):
        raise UserError(f"{shown(path)}: no such file")
