"""Exact neighbours in an index: every row, through the memory map, on all devices."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from abe_jax.errors import UserError
from abe_jax.evaluation import binary_codes, knn, search
from abe_jax.evaluation.search import GALLERY_TILE, NOBODY, PLANE, QUERY_TILE, Rows
from abe_jax.index import row_numbers
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import flat

TOGETHER = 1024  # queries for which the files are read once
CHUNK = 2**26  # bytes (64 MiB) of rows in float32 that a device compares at once
SPARE = 32  # candidates beyond k that float32 finds, for float64 to choose from
LEAST = 1024  # rows of a chunk, if there are as many and they fit
HOST = 2048  # rows in float64 at once
# A sum of d products in float32 errs by (d + 3) 2^-24 of the sum of their sizes at most, in any
# order; four times as much leaves room for a device that rounds a product a little more.
ROUNDING = 2.0**-22


class Found(NamedTuple):
    """The nearest rows of each query, nearest first; -1 at an infinite distance where none is."""

    distances: Float64[np.ndarray, "q k"]
    ids: Int64[np.ndarray, "q k"]


def nearest(snapshot: Snapshot, queries: Float[np.ndarray, "..."], k: int) -> Found:
    """The k nearest rows of queries float32 [q, m, d], by the distance to what is stored.

    The squared Euclidean distance of the concatenated learners, sum_i (q_i - g_i)^2 in float64, or
    of a binary index how many bits differ from the query's. Equal distances rank by id. A vector
    stored in float32 has the distance 0 to itself; one in float16 that of its rounding.

    Every row is compared: in float32, chunk i on device i mod n, then k + SPARE candidates in
    float64. Where rounding in float32 could have kept a nearer row from being a candidate, that
    query is compared with every row on the host.

    Raises UserError where k < 1, shapes do not fit or a number is not finite.
    """
    if k < 1:
        raise UserError(f"k = {k} neighbours: ask for 1 or more")
    asked = flat(queries, snapshot.spec, "queries")
    of_block = _by_bits if snapshot.spec.storage == "binary" else _by_numbers
    best = Found(np.full((len(asked), k), np.inf), np.full((len(asked), k), NOBODY, np.int64))
    depth = min(k, snapshot.count)
    for start in range(0, len(asked) if depth else 0, TOGETHER):
        at = slice(start, start + TOGETHER)
        best.distances[at, :depth], best.ids[at, :depth] = of_block(snapshot, asked[at], depth)
    return best


def _by_bits(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"], k: int) -> Found:
    """Counts of bits are exact in float32: the first search is the last."""
    asked = binary_codes.words(np.asarray(binary_codes.pack(queries)), "queries")
    length = _length(snapshot, queries)
    chunks = (
        _rows(binary_codes.words(stored, "the index"), at, length)
        for stored, at in row_numbers.chunks(snapshot, length)
    )
    distances, near = _searched(asked, chunks, k, binary_codes.hamming)
    _, ids = row_numbers.gathered(snapshot, near.ravel())
    return Found(distances.astype(np.float64), ids.reshape(near.shape))


def _by_numbers(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"], k: int) -> Found:
    """Candidates in float32, the order in float64."""
    length = _length(snapshot, queries)
    chunks = (
        _rows(stored[None], at, length) for stored, at in row_numbers.chunks(snapshot, length)
    )
    apart, candidates = _searched(queries[None], chunks, k + SPARE, knn.squared)
    best = Found(np.zeros((len(queries), k)), np.zeros((len(queries), k), np.int64))
    for at, query in enumerate(queries):
        own = candidates[at]
        distances, near = _ordered(snapshot, query, own[own != NOBODY], k)
        if apart[at, -1] <= _reach(query, distances[-1]):
            near_too = _within(snapshot, query, float(distances[-1]))
            distances, near = _ordered(snapshot, query, near_too, k)
        best.distances[at], best.ids[at] = distances, row_numbers.gathered(snapshot, near)[1]
    return best


def _searched(
    queries: np.ndarray, chunks: Iterator[Rows], k: int, distance: search.Distance
) -> tuple[Float32[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The k nearest places of each query by any distance, over all devices of this process."""
    number = queries.shape[1]
    tile = max(QUERY_TILE, _power(number) // 16)  # few lengths: one compiled program serves many
    block = -(-number // tile) * tile
    ids = np.full(number, -2, np.int32)  # no row's: nobody is excluded
    asked = search.padded(Rows(queries, ids, ids), block)
    found = search.best_of(asked, chunks, k, distance, jax.local_devices())
    return np.asarray(found.distances)[:number], np.asarray(found.indices)[:number]


def _rows(vectors: np.ndarray, at: Int[np.ndarray, " n"], length: int) -> Rows:
    return search.padded(Rows(np.asarray(vectors), at, np.zeros(len(at), np.int32)), length)


def _length(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"]) -> int:
    """Rows of a chunk, a power of two: an index that grows seldom needs another program compiled.

    From LEAST rows on at least four chunks, so that little of the last one is empty.
    """
    most = min(CHUNK // (4 * queries.shape[1]), PLANE // _power(len(queries)))
    fits, all_ = _power(most + 1) // 2, _power(row_numbers.size(snapshot))
    return max(GALLERY_TILE, min(fits, all_, max(LEAST, all_ // 8)))


def _power(number: int) -> int:
    """The least power of two that is no less."""
    return 1 << (number - 1).bit_length()


def _ordered(
    snapshot: Snapshot, query: Float32[np.ndarray, " w"], at: Int[np.ndarray, " n"], k: int
) -> tuple[Float64[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The k nearest of some places in float64, and their distances."""
    best = np.zeros(0), np.zeros(0, np.int32)
    for start in range(0, len(at), HOST):
        some = at[start : start + HOST]
        stored, _ = row_numbers.gathered(snapshot, some)
        apart = ((stored.astype(np.float64) - query.astype(np.float64)[None]) ** 2).sum(axis=1)
        both = np.concatenate([best[0], apart]), np.concatenate([best[1], some])
        order = np.lexsort(both[::-1])[:k]
        best = both[0][order], both[1][order]
    return best


def _reach(query: Float32[np.ndarray, " w"], distance: float) -> float:
    """The largest float32 distance that a row can have that is no farther than `distance`.

    float32 errs by e (|q| + |g|)^2 <= 2 e (|q|^2 + |g|^2) at most, and |g|^2 <= 2 |q|^2 + 2 t for
    a row g at the squared distance t: by 2 e (3 |q|^2 + 2 t).
    """
    error = (len(query) + 3) * ROUNDING
    length = float((query.astype(np.float64) ** 2).sum())
    return distance + 2 * error * (3 * length + 2 * distance) + float(np.finfo(np.float32).tiny)


def _within(
    snapshot: Snapshot, query: Float32[np.ndarray, " w"], distance: float
) -> Int[np.ndarray, " n"]:
    """The places of all rows that can be as near as `distance`, by float32 on the host."""
    near, reach = [np.zeros(0, np.int32)], _reach(query, distance)
    for stored, at in row_numbers.chunks(snapshot, HOST):
        rows = stored.astype(np.float32)
        apart = (rows**2).sum(axis=1) + (query**2).sum() - 2 * (rows @ query)
        near.append(at[(at != NOBODY) & (apart <= reach)])
    return np.concatenate(near)
