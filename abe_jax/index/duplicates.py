"""Near-duplicates in an index: images that chains of small distances join."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int64
from tqdm import tqdm

from abe_jax.errors import UserError
from abe_jax.index.snapshot import Snapshot

BLOCK = 2048  # rows compared with as many others at once
TRIED = 2**20  # numbers in float64 at once
# Of the sum of both vectors' squared lengths: how far a squared distance in float32 may be from the
# exact one. Those nearer to the limit are computed again in float64.
ROUNDING = 2.0**-18


def distance_of(found: Snapshot, cosine: float) -> float:
    """The squared distance of the concatenation at which learners' cosines are `cosine` on average.

    |x - y|^2 = 2 m (1 - cosine), for m unit vectors.

    Raises:
        UserError: no cosine, or an index of codes, whose distances are bits.
    """
    if found.spec.storage == "binary":
        raise UserError("--cosine: the index holds binary codes; use --distance, in bits")
    if not -1 <= cosine <= 1:
        raise UserError(f"--cosine {cosine:g}: a cosine lies in -1 to 1")
    return 2 * found.spec.learners * (1 - cosine)


def groups(found: Snapshot, distance: float) -> list[Int64[np.ndarray, " g"]]:
    """The ids of images that pairs at most `distance` apart join, in groups of two and more.

    Groups are the connected components of the graph of such pairs, largest first, then by their
    smallest id, so two images of a group may be farther apart than `distance`. Every pair is
    compared, BLOCK rows with BLOCK rows at a time: the time grows as the square of the rows, the
    memory with their number. Distances are those of the index: squared Euclidean, or bits.

    Raises:
        UserError: the distance is negative, infinite or no number.
    """
    if not 0 <= distance < np.inf:
        raise UserError(f"--distance {distance:g}: 0 or more, and finite")
    ids = found.ids()
    parent = np.arange(len(ids))
    starts = range(0, len(ids), BLOCK)
    length, bits = min(BLOCK, max(8, 1 << len(ids).bit_length())), found.spec.storage == "binary"
    with tqdm(
        total=len(starts) * (len(starts) + 1) // 2, desc="comparing", unit="block", disable=None
    ) as bar:
        for i in starts:
            rows = _block(found, ids, i)
            for j in starts[i // BLOCK :]:
                others = rows if i == j else _block(found, ids, j)
                near = _near(rows, others, distance, bits, length)
                a, b = np.nonzero(np.triu(near, 1) if i == j else near)
                _join(parent, a + i, b + j)
                bar.update()
    return _components(ids, _roots(parent, np.arange(len(ids))))


def _block(found: Snapshot, ids: Int64[np.ndarray, " n"], start: int) -> Float[np.ndarray, "b D"]:
    vectors = found.vectors(ids[start : start + BLOCK])
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
    found = np.asarray(_squared(*filled))[: len(rows), : len(others)]
    if bits:  # of numbers 1 and -1 the squared distance is exact: 4 for each bit that differs
        return found <= 4 * limit
    near = found <= limit
    slack = ROUNDING * float(np.sum(rows**2, axis=1).max() + np.sum(others**2, axis=1).max())
    a, b = np.nonzero(np.abs(found - limit) <= slack)
    step = max(1, TRIED // rows.shape[1])
    for at in range(0, len(a), step):
        p, q = a[at : at + step], b[at : at + step]
        exact = np.sum((rows[p].astype(np.float64) - others[q]) ** 2, axis=1)
        near[p, q] = exact <= limit
    return near


@jax.jit
def _squared(rows: Float[Array, "a D"], others: Float[Array, "b D"]) -> Float[Array, "a b"]:
    product = jnp.dot(rows, others.T, precision=lax.Precision.HIGHEST)
    lengths = jnp.sum(rows**2, axis=1)[:, None] + jnp.sum(others**2, axis=1)[None]
    return lengths - 2.0 * product


def _roots(parent: Int[np.ndarray, " n"], places: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """The smallest place that each is known to be joined with."""
    found = parent[places]
    while True:
        above = parent[found]
        if np.array_equal(above, found):
            return found
        found = above


def _join(
    parent: Int[np.ndarray, " n"], a: Int[np.ndarray, " e"], b: Int[np.ndarray, " e"]
) -> None:
    """Joins the ends of edges: the larger root is hung below the smaller until all agree."""
    while len(a):
        one, other = _roots(parent, a), _roots(parent, b)
        parent[a], parent[b] = one, other  # shortens the ways of the next blocks
        apart = one != other
        a, b, one, other = a[apart], b[apart], one[apart], other[apart]
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))


def _components(
    ids: Int64[np.ndarray, " n"], roots: Int[np.ndarray, " n"]
) -> list[Int64[np.ndarray, " g"]]:
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    found = [ids[part] for part in np.split(order, cuts) if len(part) > 1]
    return sorted(found, key=lambda part: (-len(part), int(part[0])))
