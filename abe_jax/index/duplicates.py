"""Near-duplicates in an index: images that chains of small distances join."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int64
from tqdm import tqdm

from abe_jax.errors import ArgumentError
from abe_jax.index.snapshot import Snapshot, not_finite
from abe_jax.index.vectors import copy_distance

BLOCK = 2048  # rows compared with as many others at once
NUMBERS_AT_ONCE = 2**20  # numbers in float64 at once
# Of the sum of both vectors' squared lengths: how far a squared distance in float32 may be from the
# exact one. Those nearer to the limit are computed again in float64.
ROUNDING = 2.0**-18


def distance_at_cosine(snapshot: Snapshot, cosine: float) -> float:
    """The squared distance of the concatenation at which learners' cosines are `cosine` on average.

    |x - y|^2 = 2 m (1 - cosine), for m unit vectors. Not less than what copies of one image may
    differ by (`vectors.COPY`), so that a cosine of 1 finds them.

    Raises:
        ArgumentError: no cosine, or an index of codes, whose distances are bits.
    """
    if snapshot.spec.storage == "binary":
        raise ArgumentError("cosine", "does not fit binary codes; name a distance, in bits")
    if not -1 <= cosine <= 1:
        raise ArgumentError("cosine", f"lies in -1 to 1 and is not {cosine:g}")
    return max(2 * snapshot.spec.learners * (1 - cosine), copy_distance(snapshot.spec))


def duplicate_groups(snapshot: Snapshot, distance: float) -> list[Int64[np.ndarray, " g"]]:
    """The ids of images that pairs at most `distance` apart join, in groups of two and more.

    Groups are the connected components of the graph of such pairs, largest first, then by their
    smallest id, so two images of a group may be farther apart than `distance`. Every pair is
    compared, BLOCK rows with BLOCK rows at a time: the time grows as the square of the rows, the
    memory with their number. Distances are those of the index: squared Euclidean, or bits. A vector
    that is not finite has none.

    Raises:
        ArgumentError: the distance is negative, infinite or no number.
    """
    if not 0 <= distance < np.inf:
        raise ArgumentError("distance", f"must be 0 or more, and finite, not {distance:g}")
    ids = np.setdiff1d(snapshot.ids(), not_finite(snapshot))
    parent = np.arange(len(ids))
    starts = range(0, len(ids), BLOCK)
    length, bits = min(BLOCK, max(8, 1 << len(ids).bit_length())), snapshot.spec.storage == "binary"
    with tqdm(
        total=len(starts) * (len(starts) + 1) // 2, desc="comparing", unit="block", disable=None
    ) as bar:
        for i in starts:
            rows = _block(snapshot, ids, i)
            for j in starts[i // BLOCK :]:
                others = rows if i == j else _block(snapshot, ids, j)
                near = _near(rows, others, distance, bits, length)
                a, b = np.nonzero(np.triu(near, 1) if i == j else near)
                _join(parent, a + i, b + j)
                bar.update()
    return _components(ids, _roots(parent, np.arange(len(ids))))


def _block(
    snapshot: Snapshot, ids: Int64[np.ndarray, " n"], start: int
) -> Float[np.ndarray, "b D"]:
    vectors = snapshot.vectors(ids[start : start + BLOCK])
    return vectors.reshape(len(vectors), -1)


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
    slack = ROUNDING * float(np.sum(rows**2, axis=1).max() + np.sum(others**2, axis=1).max())
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


def _components(
    ids: Int64[np.ndarray, " n"], roots: Int[np.ndarray, " n"]
) -> list[Int64[np.ndarray, " g"]]:
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    groups = [ids[part] for part in np.split(order, cuts) if len(part) > 1]
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))
