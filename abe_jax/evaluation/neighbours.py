"""The neighbours of queries in memory, in the exact order: from the devices, proven on the host."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int

from abe_jax import hosts
from abe_jax.evaluation import deep, frame, order, pruned, whole_rows
from abe_jax.evaluation.chunks import Nearest
from abe_jax.evaluation.order import Candidates, Within
from abe_jax.evaluation.pruned import FirstPass
from abe_jax.evaluation.search import ExactVectors, Search, blocks
from abe_jax.evaluation.whole_rows import EXTRA, Right, exact

DEEP = 256  # candidates from which on a GPU, or of a large part of a gallery, float64 finds all
PART = 8  # 1 / PART of a gallery is a large part
BLOCKS_AT_ONCE = 2  # blocks of queries; the memory for distances grows with them

Of = TypeVar("Of")


def all_nearest(search: Search, k: int) -> Nearest:
    """The k nearest of every query."""
    first = pruned.first_pass(search, k)
    found = in_blocks(
        search,
        np.arange(len(search.queries.ids)),
        lambda rows: nearest(search, rows, np.full(len(rows), k), first=first),
    )
    return Nearest(
        np.concatenate([best.distances[:, :k] for best in found]),
        np.concatenate([best.indices[:, :k] for best in found]).astype(np.int32),
    )


def in_blocks(
    search: Search, rows: Int[np.ndarray, " q"], of: Callable[[Int[np.ndarray, " b"]], Of]
) -> list[Of]:
    """`of` every block of the queries `rows`, in their order.

    Several blocks at once: what the host does for one goes on beside the products of another.
    """
    parts = [rows[start : start + search.block] for start in range(0, len(rows), search.block)]
    with ThreadPoolExecutor(BLOCKS_AT_ONCE) as threads:
        return list(threads.map(of, parts))


def nearest(
    search: Search,
    rows: Int[np.ndarray, " q"],
    need: Int[np.ndarray, " q"],
    right: Right | None = None,
    first: FirstPass | None = None,
) -> Nearest:
    """The nearest of the queries `rows`, one block at most: the first `need` of each, and others.

    With `right` the places of right and wrong rows are those of the exact order, and nothing more
    is said of it, nor of distances. `first`: of the search, taken where it proves enough.
    """
    hosts.at_work()
    exact_vectors, k = search.exact_vectors, int(need.max())
    if first is not None and exact_vectors is not None and k <= first.k:
        found = pruned.nearest(first, rows, k, exact(exact_vectors, rows))
        if found is not None:
            return _in_own_numbers(exact_vectors, _filled(found, _depth(k)))
    size, depth = len(search.groups), _depth(k)
    if depth >= DEEP and (depth * PART > size or deep.able(search)):
        found = whole_rows.nearest(search, rows, need, right)
    else:
        ((_, found),) = blocks(search, rows, depth)
        if exact_vectors is not None:
            found = _settled(search, exact_vectors, rows, need, right, found)
    return found if exact_vectors is None else _in_own_numbers(exact_vectors, found)


def _filled(found: Nearest, depth: int) -> Nearest:
    """As many columns as without a first pass: a sum's last bit may depend on how many zeros."""
    more = ((0, 0), (0, depth - found.indices.shape[1]))
    return Nearest(
        np.pad(found.distances, more, constant_values=np.inf),
        np.pad(found.indices, more, constant_values=order.NO_ROW),
    )


def _in_own_numbers(exact_vectors: ExactVectors, found: Nearest) -> Nearest:
    """Distances of the vectors themselves from those in the frame."""
    power = exact_vectors.frame.power * (1 if exact_vectors.rooted else 2)
    return Nearest(np.ldexp(found.distances, -power), found.indices)


def _settled(
    search: Search,
    exact_vectors: ExactVectors,
    rows: Int[np.ndarray, " q"],
    need: Int[np.ndarray, " q"],
    right: Right | None,
    found: Nearest,
) -> Nearest:
    """The candidates that float32 found in the exact order, or others where they may be wrong."""
    least, ids = np.asarray(found.distances, np.float64), np.asarray(found.indices)
    settled = order.settle(
        Candidates(least, _most(exact_vectors, rows, least, ids), ids),
        need,
        exact(exact_vectors, rows),
        right=None if right is None else right(rows, ids),
    )
    distances, ids, proven = settled
    lost = np.flatnonzero(~proven)
    if len(lost):
        reach = distances[lost, need[lost] - 1]
        again = _found_again(search, exact_vectors, rows[lost], reach, least.shape[1])
        distances[lost], ids[lost] = again
    return Nearest(distances, ids)


def _depth(k: int) -> int:
    """A power of two beyond k, so that few programs are compiled, and 16 at least."""
    return max(16, 1 << (k + EXTRA - 1).bit_length())


def _most(
    exact_vectors: ExactVectors,
    rows: Int[np.ndarray, " q"],
    least: Float64[np.ndarray, "q k"],
    ids: Int[np.ndarray, "q k"],
) -> Float64[np.ndarray, "q k"]:
    """The most that the distances of candidates can be, from the least that float32 gave."""
    if exact_vectors.rooted:  # by what each learner's is, which is not kept
        return np.full(least.shape, np.inf)
    own, others = (part.astype(np.float64) for part in exact_vectors.lengths)
    dim = exact_vectors.gallery.shape[2]
    off = 2 * frame.share(dim) * (1 + frame.share(dim))  # twice the error; lengths err too
    return least + off * (own[rows][:, None] + others[ids]) + 4 * frame.smallest(dim)


def _found_again(
    search: Search,
    exact_vectors: ExactVectors,
    rows: Int[np.ndarray, " q"],
    reach: Float64[np.ndarray, " q"],
    k: int,
) -> Nearest:
    """The k nearest of queries, compared with every row."""
    wide = exact_vectors.frame.wide(exact_vectors.queries[:, rows])
    asked = Within(exact_vectors.frame, wide, reach, exact_vectors.rooted)
    chunks = whole_rows.chunks(search, exact_vectors, rows)
    return Nearest(*order.within(asked, chunks, k, exact(exact_vectors, rows)))
