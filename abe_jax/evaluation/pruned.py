"""Exact neighbours after a cheap first pass: what its bounds leave open is compared in float64.

The devices give two bounds of every distance (`coarse.py`). The k-th smallest of upper bounds of
different rows is a reach that the k-th neighbour does not exceed, so a row whose lower bound lies
beyond it is no neighbour. The reach shrinks from one tile of the gallery to the next, and a tile is
gone through while it is still in the processor's cache: one comparison for each distance in place
of a selection. `lax.top_k` takes longer than the product where k is large.
"""

import dataclasses
import threading
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float64, Int, Shaped

from abe_jax.evaluation import coarse
from abe_jax.evaluation.chunks import Nearest, Numbers
from abe_jax.evaluation.coarse import Rounded, Side
from abe_jax.evaluation.order import NO_ROW, Exact
from abe_jax.evaluation.search import GALLERY_TILE, ExactVectors, Search

WORTH = 2**32  # multiply-adds of a search from which on a copy of the vectors pays
TILE = 2**14  # gallery rows at once: 256 queries' bounds of them are 16 MiB
LONGEST_GROUP = 64  # rows of which only the most of the nearest is known before they are opened
GROUPS_FOR_EACH = 4  # groups in a tile for each neighbour asked for, so that the reach is short
# Of a gallery of fewer rows for each neighbour float32 is taken: what fewer bits leave open more
# costs more in float64 than the faster product saves. Of 60,000 rows of 512 numbers bfloat16 left
# 1,490 open for k = 1000, and 1,024 queries took 3.1 s with it, 2.2 s with float32.
ROWS_FOR_FEW_BITS = 128
MOST = 16  # rows left open for each neighbour; where it is more the first pass proves too little


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstPass:
    """A search's rows as the first pass takes them."""

    search: Search
    queries: Rounded
    gallery: tuple[Side, ...]  # on the device, in tiles of one length
    group: int  # neighbouring rows of which the nearest counts
    k: int  # neighbours at most
    # Whether a block was left so open that the first pass is a waste: it will be for others too
    failed: threading.Event = dataclasses.field(default_factory=threading.Event)


def first_pass(search: Search, k: int) -> FirstPass | None:
    """The first pass of a search for k neighbours or fewer; None where it does not pay."""
    exact_vectors = search.exact_vectors
    if exact_vectors is None or exact_vectors.rooted or jax.default_backend() != "cpu":
        return None
    _, q, d = exact_vectors.queries.shape
    n = exact_vectors.gallery.shape[1]
    tiles = -(-n // TILE)
    length = -(-n // tiles // GALLERY_TILE) * GALLERY_TILE
    group = LONGEST_GROUP
    while group > 1 and GROUPS_FOR_EACH * group * k > length:
        group //= 2
    if q * n * d < WORTH or group == 1:
        return None
    few = n >= ROWS_FOR_FEW_BITS * k
    kind = coarse.fastest_kind() if few else np.dtype(np.float32)
    return FirstPass(
        search=search,
        queries=coarse.rounded(
            np.asarray(search.queries.vectors[0]), exact_vectors.lengths[0], kind
        ),
        gallery=tuple(jax.device_put(side) for side in _tiles(search, exact_vectors, length, kind)),
        group=group,
        k=k,
    )


def nearest(first: FirstPass, rows: Int[np.ndarray, " q"], k: int, exact: Exact) -> Nearest | None:
    """The k nearest of the queries `rows`, one block at most, in the order of exact distances.

    None where too many rows are left open, since they are hardly apart from each other, or were in
    a block before.
    """
    left = None if first.failed.is_set() else _left_open(first, rows, k)
    if left is None:
        first.failed.set()
        return None
    return _ranked(*left, exact(*left), len(rows), k)


def _left_open(
    first: FirstPass, rows: Int[np.ndarray, " q"], k: int
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]] | None:
    """Places of queries in `rows`, rising, and with each the rows, rising, that may be near it."""
    asked, start = _asked(first, rows), 0
    smallest = np.full((len(rows), k), np.inf, np.float32)  # upper bounds of different rows
    found, number, reach = [], 0, smallest[:, 0]
    for tile in first.gallery:
        both = coarse.bounds(asked, tile, length=first.group)
        least, most = (np.asarray(part)[: len(rows)] for part in both)
        smallest = np.partition(np.concatenate([smallest, most], axis=1), k - 1, axis=1)[:, :k]
        # What does not count is infinitely far and never within reach
        reach = np.minimum(smallest[:, k - 1], np.finfo(np.float32).max)
        near = np.flatnonzero(least <= reach[:, None])
        asking, column = np.divmod(near, least.shape[1])
        found.append((asking, column + start, least.ravel()[near]))
        start += least.shape[1]
        number += len(near)
        if number > MOST * k * len(rows):
            return None
    asking, ids, least = (np.concatenate(part) for part in zip(*found, strict=True))
    left = np.flatnonzero(least <= reach[asking])
    left = left[np.argsort(asking[left], kind="stable")]  # tile after tile: the rows rise already
    return asking[left], ids[left]


def _ranked(
    asking: Int[np.ndarray, " p"],
    ids: Int[np.ndarray, " p"],
    distances: Float64[np.ndarray, " p"],
    number: int,
    k: int,
) -> Nearest:
    """The k nearest of each of `number` queries; queries rise, and for each its rows."""
    counts = np.bincount(asking, minlength=number)
    place = np.arange(len(asking)) - (np.cumsum(counts) - counts)[asking]
    shape = (number, max(k, int(counts.max(initial=0))))
    far, row = np.full(shape, np.inf), np.full(shape, NO_ROW, np.int64)
    far[asking, place], row[asking, place] = distances, ids
    order = np.argsort(far, axis=1, kind="stable")[:, :k]  # of equal distances the lower row
    return Nearest(*(np.take_along_axis(part, order, axis=1) for part in (far, row)))


def _asked(first: FirstPass, rows: Int[np.ndarray, " q"]) -> Side:
    """A block of queries of the search's length, so that one compiled program serves all."""
    own = first.search.queries
    chosen = np.pad(rows, (0, max(0, first.search.block - len(rows))), mode="edge")
    numbers = Numbers(np.asarray(own.ids)[chosen], np.asarray(own.groups)[chosen])
    return Side(Rounded(*(part[chosen] for part in first.queries)), numbers)


def _tiles(
    search: Search, exact_vectors: ExactVectors, length: int, kind: object
) -> Iterator[Side]:
    """The gallery, moved and rounded, tile by tile; the last one filled up with what is no row."""
    for start in range(0, len(search.groups), length):
        at = slice(start, start + length)
        moved = exact_vectors.frame.moved(exact_vectors.gallery[:, at])[0]
        rows = coarse.rounded(moved, exact_vectors.lengths[1][at], kind)
        ids = np.arange(start, start + len(moved), dtype=np.int32)
        yield _filled(rows, Numbers(ids, search.groups[at]), length)


def _filled(rows: Rounded, numbers: Numbers, length: int) -> Side:
    """Rows filled up to `length` with what is nobody's neighbour."""
    missing = length - len(numbers.ids)

    def more(x: Shaped[np.ndarray, "..."], value: int = 0) -> np.ndarray:
        return np.concatenate([x, np.full((missing, *x.shape[1:]), value, x.dtype)])

    filled = Numbers(more(np.asarray(numbers.ids), NO_ROW), more(np.asarray(numbers.groups)))
    return Side(Rounded(*(more(np.asarray(part)) for part in rows)), filled)
