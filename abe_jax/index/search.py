"""Exact neighbours in an index: every row, through the memory map, on all devices."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from abe_jax.errors import ArgumentError
from abe_jax.evaluation import binary_codes, knn
from abe_jax.evaluation import search as tiles
from abe_jax.evaluation.search import DISTANCES_AT_ONCE, GALLERY_TILE, NO_ROW, QUERY_TILE, Rows
from abe_jax.index import gallery
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import flattened

QUERIES_AT_ONCE = 1024  # queries for which the files are read once
CHUNK_BYTES = 2**26  # bytes (64 MiB) of rows in float32 that a device compares at once
EXTRA_CANDIDATES = 32  # candidates beyond k that float32 finds, for float64 to choose from
LEAST_ROWS = 1024  # rows of a chunk, if there are as many and they fit
ROWS_ON_HOST = 2048  # rows in float64 at once
# A sum of d products in float32 errs by (d + 3) 2^-24 of the sum of their sizes at most, in any
# order; four times as much leaves room for a device that rounds a product a little more.
ROUNDING = 2.0**-22


class NearestRows(NamedTuple):
    """The nearest rows of each query, nearest first; -1 at an infinite distance where none is."""

    distances: Float64[np.ndarray, "q k"]
    ids: Int64[np.ndarray, "q k"]


def nearest_rows(snapshot: Snapshot, queries: Float[np.ndarray, "..."], k: int) -> NearestRows:
    """The k nearest rows of queries float32 [q, m, d], by the distance to what is stored.

    The squared Euclidean distance of the concatenated learners, sum_i (q_i - g_i)^2 in float64, or
    of a binary index how many bits differ from the query's. Equal distances rank by id. A vector
    stored in float32 has the distance 0 to itself; one in float16 that of its rounding.

    Every row is compared: in float32, chunk i on device i mod n, then k + EXTRA_CANDIDATES of them
    in float64. Where rounding in float32 could have kept a nearer row from being a candidate, that
    query is compared with every row on the host.

    Raises ArgumentError where k < 1, UserError where shapes do not fit or a number is not finite.
    """
    if k < 1:
        raise ArgumentError("k", f"must be 1 neighbour or more, not {k}")
    flat = flattened(queries, snapshot.spec, "queries")
    block_search = _by_bits if snapshot.spec.storage == "binary" else _by_numbers
    shape = (len(flat), k)
    best = NearestRows(np.full(shape, np.inf), np.full(shape, NO_ROW, np.int64))
    depth = min(k, snapshot.count)
    for start in range(0, len(flat) if depth else 0, QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        nearest = block_search(snapshot, flat[block], depth)
        best.distances[block, :depth], best.ids[block, :depth] = nearest
    return best


def _by_bits(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"], k: int) -> NearestRows:
    """Counts of bits are exact in float32: the first search is the last."""
    codes = binary_codes.words(np.asarray(binary_codes.pack(queries)), "queries")
    length = _length(snapshot, queries)
    chunks = (
        _padded(binary_codes.words(stored, "the index"), numbers, length)
        for stored, numbers in gallery.chunks(snapshot, length)
    )
    distances, numbers = _on_devices(codes, chunks, k, binary_codes.hamming)
    _, ids = gallery.gather(snapshot, numbers.ravel())
    return NearestRows(distances.astype(np.float64), ids.reshape(numbers.shape))


def _by_numbers(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"], k: int) -> NearestRows:
    """Candidates in float32, the order in float64."""
    length = _length(snapshot, queries)
    chunks = (
        _padded(stored[None], numbers, length)
        for stored, numbers in gallery.chunks(snapshot, length)
    )
    rough, candidates = _on_devices(queries[None], chunks, k + EXTRA_CANDIDATES, knn.squared)
    shape = (len(queries), k)
    best = NearestRows(np.full(shape, np.inf), np.full(shape, NO_ROW, np.int64))
    for i, query in enumerate(queries):
        own = candidates[i]
        distances, numbers = _ordered(snapshot, query, own[own != NO_ROW], k)
        # Of rows that are not finite, the device may have kept some in the place of others.
        last = distances[-1] if len(distances) == k else np.inf
        if np.isnan(rough[i]).any() or rough[i, -1] <= _reach(query, last):
            distances, numbers = _ordered(snapshot, query, _within(snapshot, query, last), k)
        found = slice(len(distances))
        best.distances[i, found] = distances
        best.ids[i, found] = gallery.gather(snapshot, numbers)[1]
    return best


def _on_devices(
    queries: np.ndarray, chunks: Iterator[Rows], k: int, distance: tiles.Distance
) -> tuple[Float32[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """Distances and row numbers of the k nearest of each query, by any distance.

    All devices of this process take part.
    """
    count = queries.shape[1]
    tile = max(QUERY_TILE, _power(count) // 16)  # few lengths: one compiled program serves many
    block = -(-count // tile) * tile
    ids = np.full(count, -2, np.int32)  # no row's: nobody is excluded
    padded = tiles.padded(Rows(queries, ids, ids), block)
    best = tiles.best_of(padded, chunks, k, distance, jax.local_devices())
    return np.asarray(best.distances)[:count], np.asarray(best.indices)[:count]


def _padded(vectors: np.ndarray, numbers: Int[np.ndarray, " n"], length: int) -> Rows:
    no_groups = np.zeros(len(numbers), np.int32)
    return tiles.padded(Rows(np.asarray(vectors), numbers, no_groups), length)


def _length(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"]) -> int:
    """Rows of a chunk, a power of two: an index that grows seldom needs another program compiled.

    From LEAST_ROWS rows on at least four chunks, so that little of the last one is empty.
    """
    most = min(CHUNK_BYTES // (4 * queries.shape[1]), DISTANCES_AT_ONCE // _power(len(queries)))
    fits, all_ = _power(most + 1) // 2, _power(gallery.size(snapshot))
    return max(GALLERY_TILE, min(fits, all_, max(LEAST_ROWS, all_ // 8)))


def _power(number: int) -> int:
    """The least power of two that is no less."""
    return 1 << (number - 1).bit_length()


def _ordered(
    snapshot: Snapshot, query: Float32[np.ndarray, " w"], numbers: Int[np.ndarray, " n"], k: int
) -> tuple[Float64[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The k nearest of some rows in float64: their distances, and their row numbers.

    Rows that are not finite are none of them.
    """
    best = np.zeros(0), np.zeros(0, np.int32)
    for start in range(0, len(numbers), ROWS_ON_HOST):
        block = numbers[start : start + ROWS_ON_HOST]
        stored, _ = gallery.gather(snapshot, block)
        with np.errstate(invalid="ignore"):
            difference = stored.astype(np.float64) - query.astype(np.float64)[None]
        distances = (difference**2).sum(axis=1)
        there = np.isfinite(distances)
        both = np.concatenate([best[0], distances[there]]), np.concatenate([best[1], block[there]])
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
    """The numbers of all rows that can be as near as `distance`, by float32 on the host."""
    near, reach = [np.zeros(0, np.int32)], _reach(query, distance)
    for stored, numbers in gallery.chunks(snapshot, ROWS_ON_HOST):
        rows = stored.astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            rough = (rows**2).sum(axis=1) + (query**2).sum() - 2 * (rows @ query)
        near.append(numbers[(numbers != NO_ROW) & (rough <= reach)])
    return np.concatenate(near)
