"""The neighbours of queries from bounds of every distance in float64, where lists are long."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from abe_jax.evaluation import deep, frame, order
from abe_jax.evaluation.chunks import Distance, Nearest, Rows, counted_distances
from abe_jax.evaluation.frame import ROWS_AT_ONCE
from abe_jax.evaluation.order import Candidates, RowsOfFloat64
from abe_jax.evaluation.search import ExactVectors, Search, query_blocks

EXTRA = 6  # candidates beyond those asked for, at least
BOUNDS_AT_ONCE = 2**22  # bounds in float64 at once: 32 MiB, and as much again for each step

# Which gallery rows are right for some queries: their numbers in the search, rows [q, k] -> [q, k]
Right = Callable[[Int[np.ndarray, " q"], Int[np.ndarray, "q k"]], Bool[np.ndarray, "q k"]]


def nearest(
    search: Search, rows: Int[np.ndarray, " q"], need: Int[np.ndarray, " q"], right: Right | None
) -> Nearest:
    """As `neighbours.nearest`, from the whole gallery: float32 leaves long lists open."""
    return _nearest(search, rows, need, right, min(int(need.max()) + EXTRA, len(search.groups)))


def _nearest(
    search: Search,
    rows: Int[np.ndarray, " q"],
    need: Int[np.ndarray, " q"],
    right: Right | None,
    k: int,
) -> Nearest:
    """`nearest`, from the k first rows of the gallery."""
    n, parts = len(search.groups), []
    step = len(rows) if k < n and deep.able(search) else max(1, BOUNDS_AT_ONCE // n)
    for start in range(0, len(rows), step):
        at = slice(start, start + step)
        if search.exact_vectors is None:
            part = _sorted_codes(search, rows[at])
        else:
            part = _sorted_vectors(search, search.exact_vectors, rows[at], need[at], right, k)
        parts.append([columns[:, : need.max()] for columns in part])
    return Nearest(*(np.concatenate(both) for both in zip(*parts, strict=True)))


def _sorted_vectors(
    search: Search,
    exact_vectors: ExactVectors,
    rows: Int[np.ndarray, " q"],
    need: Int[np.ndarray, " q"],
    right: Right | None,
    k: int,
) -> Nearest:
    """The k nearest, of which float64 leaves few open: with `right`, the others stand in order."""
    n = len(search.groups)
    if k < n and deep.able(search):
        least, most, ids = deep.candidates(search, rows, k)
    else:
        least, most, ids = all_candidates(search, exact_vectors, rows, k)
    near = (most[:, :-1] >= least[:, 1:]) & np.isfinite(least[:, 1:])
    left = np.flatnonzero(near.any(axis=1)) if right is not None else np.arange(len(rows))
    if len(left):
        settled = order.settle(
            Candidates(least[left], most[left], ids[left]),
            need[left],
            exact(exact_vectors, rows[left]),
            right=None if right is None else right(rows[left], ids[left]),
            complete=k == n,
        )
        least[left], ids[left] = settled.distances, settled.ids
        lost = left[~settled.proven]  # among equals, say: one that was left out may belong there
        if len(lost):
            again = _nearest(search, rows[lost], need[lost], right, n)
            for part, own in zip((least, ids), again, strict=True):
                part[lost, : own.shape[1]] = own
    return Nearest(least, ids)


def all_candidates(
    search: Search, exact_vectors: ExactVectors, rows: Int[np.ndarray, " q"], k: int | None = None
) -> Candidates:
    """The k rows of the least `least` for each query, or all rows, from float64 and in its order.

    Every row is bounded; k of them are then sorted, which takes far less than sorting all.
    """
    both = np.empty((2, len(rows), len(search.groups)))
    asked = exact_vectors.frame.wide(exact_vectors.queries[:, rows])
    for chunk in chunks(search, exact_vectors, rows):
        part = frame.bounds(exact_vectors.frame, asked, chunk.vectors, exact_vectors.rooted)
        for side, bound in zip(both[:, :, chunk.ids[0] : chunk.ids[-1] + 1], part, strict=True):
            side[:] = bound
            np.copyto(side, np.inf, where=~chunk.counts)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy sorts on one core
        pieces = np.array_split(both[0], min(os.cpu_count() or 1, len(rows)))
        first = partial(_first, k=len(search.groups) if k is None else k)
        ids = np.concatenate(list(threads.map(first, pieces)))
    least, most = np.take_along_axis(both, ids[None], axis=2)
    ids[np.isinf(least)] = order.NO_ROW
    return Candidates(least, most, ids)


def _first(values: Float64[np.ndarray, "q n"], k: int) -> Int[np.ndarray, "q k"]:
    """The columns of the k least values of each row, by rising value."""
    if k == values.shape[1]:
        return np.argsort(values, axis=1)
    some = np.argpartition(values, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(values, some, axis=1), axis=1)
    return np.take_along_axis(some, order, axis=1)


def _sorted_codes(search: Search, rows: Int[np.ndarray, " q"]) -> Nearest:
    """The order of whole numbers, which are exact."""
    parts = []
    for at, queries in query_blocks(search, rows):
        own = [_counted(queries, chunk, distance=search.distance) for chunk in search.gallery]
        parts.append(np.concatenate(own, axis=1)[: at.stop - at.start, : len(search.groups)])
    distances = np.concatenate(parts)
    last = 32 * len(search.queries.vectors) + 1
    kind = np.uint16 if last <= np.iinfo(np.uint16).max else np.uint32  # short ones sort fastest
    ids = np.argsort(np.minimum(distances, last).astype(kind), axis=1, kind="stable")
    distances = np.take_along_axis(distances, ids, axis=1)
    ids[np.isinf(distances)] = order.NO_ROW
    return Nearest(distances, ids)


@partial(jax.jit, static_argnames="distance")
def _counted(queries: Rows, chunk: Rows, *, distance: Distance) -> Float[Array, "q n"]:
    return counted_distances(queries, chunk, distance)


def chunks(
    search: Search, exact_vectors: ExactVectors, rows: Int[np.ndarray, " q"]
) -> Iterator[RowsOfFloat64]:
    """The gallery in float64, and what counts for each query."""
    own, groups = search.queries.ids[rows][:, None], search.queries.groups[rows][:, None]
    for start in range(0, len(search.groups), ROWS_AT_ONCE):
        at = slice(start, start + ROWS_AT_ONCE)
        wide = exact_vectors.frame.wide(exact_vectors.gallery[:, at])
        ids = np.arange(start, start + wide.shape[1])
        yield RowsOfFloat64(wide, ids, (ids != own) & (search.groups[at] != groups))


def exact(exact_vectors: ExactVectors, rows: Int[np.ndarray, " q"]) -> order.Exact:
    """The exact distances of the queries `rows`, by their places in it."""
    power, rooted = exact_vectors.frame.power, exact_vectors.rooted
    return order.pairwise(exact_vectors.queries[:, rows], exact_vectors.gallery, power, rooted)
