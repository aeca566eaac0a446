"""Exact neighbours in an index: every row, through the memory map, on all devices."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from abe_jax.errors import ArgumentError
from abe_jax.evaluation import binary_codes, frame, order
from abe_jax.evaluation import search as tiles
from abe_jax.evaluation.chunks import Distance, Rows, padded
from abe_jax.evaluation.frame import Frame
from abe_jax.evaluation.order import NO_ROW, Candidates, RowsOfFloat64, Within
from abe_jax.evaluation.search import DISTANCES_AT_ONCE, GALLERY_TILE, QUERY_TILE
from abe_jax.index import gallery, half
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import flattened

QUERIES_AT_ONCE = 1024  # queries for which the files are read once
CHUNK_BYTES = 2**26  # bytes (64 MiB) of rows in float32, or of codes, that a device has at once
EXTRA_CANDIDATES = 32  # candidates beyond k that float32 finds, for float64 to choose from
LEAST_ROWS = 1024  # rows of a chunk, if there are as many and they fit
ROWS_ON_HOST = 2048  # rows in float64 at once


class NearestRows(NamedTuple):
    """The nearest rows of each query, nearest first; -1 at an infinite distance where none is."""

    distances: Float64[np.ndarray, "q k"]
    ids: Int64[np.ndarray, "q k"]


def nearest_rows(snapshot: Snapshot, queries: Float[np.ndarray, "..."], k: int) -> NearestRows:
    """The k nearest rows of queries float32 [q, m, d], by the distance to what is stored.

    The squared Euclidean distance of the concatenated learners, sum_i (q_i - g_i)^2 in float64, or
    of a binary index how many bits differ from the query's. Equal distances rank by id. A vector
    stored in float32 has the distance 0 to itself; one in float16 that of its rounding.

    Exact, as `evaluation/order.py` defines it. Every row is compared: in float32, chunk i on device
    i mod n, then k + EXTRA_CANDIDATES of them in float64. Where rounding in float32 could have kept
    a nearer row from being a candidate, that query is compared with every row on the host.

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
    length = _length(snapshot, len(queries), 4 * len(codes))
    chunks = (
        _padded(binary_codes.words(stored, "the index"), numbers, length)
        for stored, numbers in gallery.chunks(snapshot, length)
    )
    distances, numbers = _on_devices(codes, chunks, k, binary_codes.hamming, light=True)
    _, ids = gallery.gather(snapshot, numbers.ravel())
    return NearestRows(distances.astype(np.float64), ids.reshape(numbers.shape))


def _by_numbers(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"], k: int) -> NearestRows:
    """Candidates in float32, the order in float64; rows that are not finite are none."""
    length = _length(snapshot, len(queries), 4 * queries.shape[1])
    fixed = _frame(snapshot, queries)
    prepared, least_of = _prepared(snapshot, fixed)
    chunks = (
        _padded(prepared(stored), numbers, length)
        for stored, numbers in gallery.chunks(snapshot, length)
    )
    asking = fixed.moved(queries[None], bounded=True)
    least, rows = _on_devices(asking, chunks, k + EXTRA_CANDIDATES, least_of)
    distance = _exact(snapshot, queries, fixed.power)
    candidates = Candidates(least, np.full(least.shape, np.inf), rows)  # all of them are compared
    settled = order.settle(candidates, np.full(len(queries), k), distance)
    distances, rows = settled.distances[:, :k], settled.ids[:, :k].astype(np.int64)
    lost = np.flatnonzero(~settled.proven)
    if len(lost):
        wide = fixed.wide(queries[None, lost])
        asked = Within(fixed, wide, distances[lost, -1], rooted=False)
        distance = _exact(snapshot, queries[lost], fixed.power)
        distances[lost], rows[lost] = order.within(asked, _wide(snapshot, fixed), k, distance)
    _, ids = gallery.gather(snapshot, rows.ravel())
    return NearestRows(np.ldexp(distances, -2 * fixed.power), ids.reshape(rows.shape))


def _prepared(
    snapshot: Snapshot, fixed: Frame
) -> tuple[Callable[[np.ndarray], np.ndarray], Distance]:
    """What makes stored rows ready for a device, and the distance that it takes them for."""
    if snapshot.spec.storage == "float16" and fixed.still:
        return half.bits, half.least_squared
    return lambda stored: fixed.moved(_numbers(stored), bounded=True), frame.least_squared


def _numbers(stored: Float[np.ndarray, "n w"]) -> Float32[np.ndarray, "1 n w"]:
    """Stored vectors in float32, made so here: a device may know no float16."""
    return np.asarray(stored).astype(np.float32, copy=False)[None]


def _frame(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"]) -> Frame:
    """The frame of some rows, of those that are finite."""
    sample, _ = gallery.gather(snapshot, frame.sample_rows(gallery.size(snapshot)))
    sample = sample[np.isfinite(sample).all(axis=1)]
    if not len(sample):
        sample = np.zeros((1, queries.shape[1]), np.float32)
    return frame.frame(_numbers(sample), queries[None])


def _exact(snapshot: Snapshot, queries: Float32[np.ndarray, "q w"], power: int) -> order.Exact:
    """Exact distances to rows by their numbers, block by block."""

    def of(asking: Int[np.ndarray, " p"], rows: Int[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
        result = np.empty(len(rows))
        for start in range(0, len(rows), ROWS_ON_HOST):
            at = slice(start, start + ROWS_ON_HOST)
            stored, _ = gallery.gather(snapshot, rows[at])
            result[at] = order.exact(queries[None, asking[at]], stored[None], rooted=False)
        return np.ldexp(result, 2 * power)

    return of


def _wide(snapshot: Snapshot, fixed: Frame) -> Iterator[RowsOfFloat64]:
    """All rows in float64, block by block."""
    for stored, numbers in gallery.chunks(snapshot, ROWS_ON_HOST):
        counts = (numbers != NO_ROW) & np.isfinite(stored).all(axis=1)
        yield RowsOfFloat64(fixed.wide(_numbers(stored)), numbers, counts[None])


def _on_devices(
    queries: np.ndarray,
    chunks: Iterator[Rows],
    k: int,
    distance: Distance,
    light: bool = False,
) -> tuple[Float32[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """Distances and row numbers of the k nearest of each query, by any distance.

    All devices of this process take part.
    """
    count = queries.shape[1]
    tile = max(QUERY_TILE, _power(count) // 16)  # few lengths: one compiled program serves many
    block = -(-count // tile) * tile
    ids = np.full(count, -2, np.int32)  # no row's: nobody is excluded
    asking = padded(Rows(queries, ids, ids), block)
    best = tiles.best_of(asking, chunks, k, distance, jax.local_devices(), light)
    return np.asarray(best.distances)[:count], np.asarray(best.indices)[:count]


def _padded(vectors: np.ndarray, numbers: Int[np.ndarray, " n"], length: int) -> Rows:
    no_groups = np.zeros(len(numbers), np.int32)
    return padded(Rows(np.asarray(vectors), numbers, no_groups), length)


def _length(snapshot: Snapshot, queries: int, row: int) -> int:
    """Rows of a chunk, a power of two, so that a growing index seldom compiles another program.

    From LEAST_ROWS rows on at least four chunks, so that little of the last one is empty. `row`:
    bytes of a row as a device gets it.
    """
    most = min(CHUNK_BYTES // row, DISTANCES_AT_ONCE // _power(queries))
    fits, all_ = _power(most + 1) // 2, _power(gallery.size(snapshot))
    return max(GALLERY_TILE, min(fits, all_, max(LEAST_ROWS, all_ // 8)))


def _power(number: int) -> int:
    """The least power of two that is not below a number."""
    return 1 << (number - 1).bit_length()
