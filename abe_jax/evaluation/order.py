"""The order of neighbours: that of exact distances, and of equal ones by their row.

**Exact**, wherever this package says it: vectors are taken as float32, and the distance of two is
sum_i (q_i - g_i)^2 of their numbers in float64, or of learners' vectors the mean of the roots of
these. float32 on the devices finds candidates, or a first pass of fewer bits does (`coarse.py`); a
query's neighbours are taken from them only where the bound of its error (`frame.py`) proves that
no other row is nearer. All others are compared with every row in float64 on the host.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from abe_jax.evaluation import frame
from abe_jax.evaluation.frame import Frame

NUMBERS_AT_ONCE = 2**17  # differences in float64 at once: a megabyte, which a core's cache holds
NO_ROW = -1  # id of padding, and the index given where a query has too few neighbours

# Exact distances, times a power of two, of the i-th query to the row i, for arrays of both
Exact = Callable[[Int[np.ndarray, " p"], Int[np.ndarray, " p"]], Float64[np.ndarray, " p"]]


class Candidates(NamedTuple):
    """Rows for each query, by rising `least`; infinite and NO_ROW where there is none."""

    least: Float[np.ndarray, "q k"]
    most: Float[np.ndarray, "q k"]
    ids: Int[np.ndarray, "q k"]


class Settled(NamedTuple):
    """Rows in the order of exact distances."""

    distances: Float64[np.ndarray, "q k"]
    ids: Int[np.ndarray, "q k"]
    proven: Bool[np.ndarray, " q"]  # whether no row that is no candidate comes before them


class RowsOfFloat64(NamedTuple):
    """Moved rows of a gallery, their ids, and which count for which query."""

    vectors: Float64[np.ndarray, "m n d"]
    ids: Int[np.ndarray, " n"]
    counts: Bool[np.ndarray, "_ n"]  # a row for each query, or one for all


def exact(
    queries: Float32[np.ndarray, "m p d"], rows: Float[np.ndarray, "m p d"], rooted: bool
) -> Float64[np.ndarray, " p"]:
    """The exact distances of pairs of vectors."""
    difference = np.subtract(queries, rows, dtype=np.float64)
    squares = np.einsum("mpd,mpd->mp", difference, difference)
    return np.sqrt(squares).mean(axis=0) if rooted else squares[0]


def pairwise(
    queries: Float32[np.ndarray, "m q d"],
    gallery: Float32[np.ndarray, "m n d"],
    power: int,
    rooted: bool,
) -> Exact:
    """Exact distances of queries and gallery rows in memory, block by block."""
    step = max(1, NUMBERS_AT_ONCE // (queries.shape[0] * queries.shape[2]))

    def of(asking: np.ndarray, ids: np.ndarray) -> np.ndarray:
        result = np.empty(len(ids))
        for start in range(0, len(ids), step):
            at = slice(start, start + step)
            result[at] = exact(queries[:, asking[at]], gallery[:, ids[at]], rooted)
        return np.ldexp(result, power if rooted else 2 * power)

    return of


def settle(
    candidates: Candidates,
    need: Int[np.ndarray, " q"],
    distance: Exact,
    *,
    right: Bool[np.ndarray, "q k"] | None = None,
    complete: bool = False,
) -> Settled:
    """Puts the first `need` neighbours of each query in the exact order.

    With `right` (is the row one of those sought?) only so far as the order of right and wrong rows
    asks for. `complete`: every row is a candidate.
    """
    open_ = _open(candidates, need, right, complete)
    keys, ids = candidates.least.astype(np.float64), candidates.ids
    unknown = open_ & (candidates.least < candidates.most)
    keys[unknown] = distance(np.nonzero(unknown)[0], ids[unknown])
    mixed = np.flatnonzero(open_.any(axis=1))
    order = np.lexsort((ids[mixed], keys[mixed]), axis=-1)
    ids = ids.copy()
    keys[mixed], ids[mixed] = (np.take_along_axis(part[mixed], order, 1) for part in (keys, ids))
    last = candidates.least[:, -1]
    reach = keys[np.arange(len(keys)), np.minimum(need, keys.shape[1]) - 1]
    return Settled(keys, ids, complete | np.isinf(last) | (reach < last))


def _open(
    candidates: Candidates,
    need: Int[np.ndarray, " q"],
    right: Bool[np.ndarray, "q k"] | None,
    complete: bool,
) -> Bool[np.ndarray, "q k"]:
    """Which candidates' exact distances decide something.

    A run is a stretch of candidates that bounds do not tell apart. Runs are apart from each other.
    """
    q, k = candidates.ids.shape
    separate = np.maximum.accumulate(candidates.most, axis=1)[:, :-1] < candidates.least[:, 1:]
    first = np.zeros((q, k), np.int64)  # of the run that a candidate stands in
    first[:, 1:] = np.where(separate, np.arange(1, k), 0)
    first = np.maximum.accumulate(first, axis=1)
    asked = (first < need[:, None]) & np.isfinite(candidates.least)
    if right is None:
        return asked
    run, decides = first + k * np.arange(q)[:, None], np.zeros(q * k, bool)
    decides[run[:, 1:][(right[:, 1:] != right[:, :-1]) & ~separate]] = True
    if not complete:
        decides[run[:, -1]] = True  # rows that are no candidates may belong among these
    return asked & decides[run]


class Within(NamedTuple):
    """Queries that are compared with every row in float64."""

    frame: Frame
    queries: Float64[np.ndarray, "m q d"]  # moved
    reach: Float64[np.ndarray, " q"]  # rows farther than this do not matter
    rooted: bool


def within(
    asked: Within, chunks: Iterable[RowsOfFloat64], k: int, distance: Exact
) -> tuple[Float64[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The k nearest rows of each query that are no farther than its reach, from all chunks.

    Ids rise from chunk to chunk.
    """
    number = asked.queries.shape[1]
    found = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64)
    for rows in chunks:
        least, most = frame.bounds(asked.frame, asked.queries, rows.vectors, asked.rooted)
        near = (least <= asked.reach[:, None]) & rows.counts
        asking, column = np.nonzero(near)
        ids, distances = rows.ids[column].astype(np.int64), least[near]
        unknown = distances < most[near]
        distances[unknown] = distance(asking[unknown], ids[unknown])
        found = _first(
            *(np.concatenate(both) for both in zip(found, (asking, distances, ids), strict=True)),
            k=k,
        )
    result = np.full((number, k), np.inf), np.full((number, k), NO_ROW, np.int64)
    place = (found[0], _places(found[0]))
    result[0][place], result[1][place] = found[1:]
    return result


def _first(
    asking: np.ndarray, distances: np.ndarray, ids: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k nearest of each query."""
    order = np.lexsort((ids, distances, asking))
    order = order[_places(asking[order]) < k]
    return asking[order], distances[order], ids[order]


def _places(asking: Int[np.ndarray, " p"]) -> Int[np.ndarray, " p"]:
    """The place of each entry among those of its query; queries rise."""
    return np.arange(len(asking)) - np.searchsorted(asking, asking)
