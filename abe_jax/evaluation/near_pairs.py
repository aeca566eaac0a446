"""Which rows near pairs join: every pair is compared, in blocks of bounded memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from tqdm import tqdm

from abe_jax import hosts
from abe_jax.evaluation import frame

BLOCK = 2048  # rows compared with as many others at once
NUMBERS_AT_ONCE = 2**20  # numbers in float64 at once

RowsFrom = Callable[[int], Float[np.ndarray, "b D"]]  # BLOCK rows from this one on, or the last


def components(
    count: int, rows_from: RowsFrom, limit: float, *, bits: bool = False
) -> Int[np.ndarray, " n"]:
    """Of each of `count` rows the first row of its connected component.

    Components are those of the graph of pairs at most `limit` apart, so chains join: two rows of
    one may be farther apart. The time grows as the square of the rows, the memory with their
    number.

    Args:
        count: n, the number of rows.
        rows_from: gives BLOCK float32 rows, or the last ones; it is asked for each several times.
        limit: the squared Euclidean distance or, with `bits`, the number of bits that differ.
        bits: the rows hold numbers 1 and -1.
    """
    parent = np.arange(count)
    starts = range(0, count, BLOCK)
    length = min(BLOCK, max(8, 1 << count.bit_length()))
    with tqdm(
        total=len(starts) * (len(starts) + 1) // 2, desc="comparing", unit="block", disable=None
    ) as bar:
        for i in starts:
            rows = rows_from(i)
            for j in starts[i // BLOCK :]:
                hosts.at_work()
                others = rows if i == j else rows_from(j)
                near = _near(rows, others, limit, bits, length)
                a, b = np.nonzero(np.triu(near, 1) if i == j else near)
                _join(parent, a + i, b + j)
                bar.update()
    return _roots(parent, np.arange(count))


def _near(
    rows: Float[np.ndarray, "a D"],
    others: Float[np.ndarray, "b D"],
    limit: float,
    bits: bool,
    length: int,
) -> Bool[np.ndarray, "a b"]:
    """Which pairs are at most `limit` apart; blocks are filled up to `length`, to compile once."""
    filled = [np.pad(x, ((0, length - len(x)), (0, 0))) for x in (rows, others)]
    distances = np.asarray(_squared(*filled))[: len(rows), : len(others)]
    if bits:  # of numbers 1 and -1 the squared distance is exact: 4 for each bit that differs
        return distances <= 4 * limit
    near = distances <= limit
    # Distances nearer to the limit than float32 can be off are computed again in float64.
    lengths = np.sum(rows**2, axis=1).max() + np.sum(others**2, axis=1).max()
    slack = frame.share(rows.shape[1]) * float(lengths) + frame.smallest(rows.shape[1])
    a, b = np.nonzero(np.abs(distances - limit) <= slack)
    step = max(1, NUMBERS_AT_ONCE // rows.shape[1])
    for start in range(0, len(a), step):
        p, q = a[start : start + step], b[start : start + step]
        exact = np.sum((rows[p].astype(np.float64) - others[q]) ** 2, axis=1)
        near[p, q] = exact <= limit
    return near


@jax.jit
def _squared(rows: Float[Array, "a D"], others: Float[Array, "b D"]) -> Float[Array, "a b"]:
    product = jnp.dot(rows, others.T, precision=lax.Precision.HIGHEST)
    lengths = jnp.sum(rows**2, axis=1)[:, None] + jnp.sum(others**2, axis=1)[None]
    return lengths - 2.0 * product


def _roots(parent: Int[np.ndarray, " n"], nodes: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """The smallest node that each is known to be joined with."""
    roots = parent[nodes]
    while True:
        above = parent[roots]
        if np.array_equal(above, roots):
            return roots
        roots = above


def _join(
    parent: Int[np.ndarray, " n"], a: Int[np.ndarray, " e"], b: Int[np.ndarray, " e"]
) -> None:
    """Joins the ends of edges: the larger root is hung below the smaller until all agree."""
    while len(a):
        one, other = _roots(parent, a), _roots(parent, b)
        parent[a], parent[b] = one, other  # shortens the paths of the next blocks
        differ = one != other
        a, b, one, other = a[differ], b[differ], one[differ], other[differ]
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))
