"""Long lists of neighbours from the float64 of a GPU, where the host would take minutes.

Where classes are a large part of a gallery, its rows are so dense that float32 proves little, and
every row is bounded in float64. The bounds are those of `frame.bounds`, whichever machine sums.
The tests run this program on a CPU; on a GPU it was neither run nor timed yet.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Int

from abe_jax.evaluation import frame
from abe_jax.evaluation.chunks import Rows, counted_distances
from abe_jax.evaluation.order import NO_ROW, Candidates
from abe_jax.evaluation.search import Search, query_blocks

# Whose float64 rounds as IEEE 754 has it, which the bounds need. A TPU's does not; on a CPU NumPy's
# is as good.
PLATFORMS = ("gpu", "cuda", "rocm")


def able(search: Search) -> bool:
    """Whether the vectors lie as they are given, neither moved nor cut off, on such devices."""
    exact_vectors = search.exact_vectors
    if exact_vectors is None or not exact_vectors.frame.still:
        return False
    if not all(np.isfinite(lengths).all() for lengths in exact_vectors.lengths):
        return False
    lies = {
        device.platform for chunk in search.gallery for device in jnp.asarray(chunk.ids).devices()
    }
    return lies <= {*PLATFORMS}


def candidates(search: Search, rows: Int[np.ndarray, " q"], k: int) -> Candidates:
    """As `whole_rows.all_candidates`, of a search that is `able`.

    A device holds two bounds in float64 of each of DISTANCES_AT_ONCE distances, and what it sorts
    them with.
    """
    assert search.exact_vectors is not None
    rooted, parts = search.exact_vectors.rooted, []
    deep = 1 << (k - 1).bit_length()  # few depths: each is a program
    with jax.enable_x64(True):
        for at, queries in query_blocks(search, rows):
            found = [_nearest(queries, chunk, k=deep, rooted=rooted) for chunk in search.gallery]
            lists = [np.concatenate(part, axis=1) for part in zip(*found, strict=True)]
            parts.append([part[: at.stop - at.start] for part in lists])
    least, most, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(search.gallery) > 1:
        first = np.argsort(least, axis=1, kind="stable")
        least, most, ids = (np.take_along_axis(x, first, axis=1) for x in (least, most, ids))
    least, most, ids = (x[:, :k] for x in (least, most, ids))
    return Candidates(least, most, np.where(np.isinf(least), NO_ROW, ids).astype(np.int64))


@partial(jax.jit, static_argnames=("k", "rooted"))
def _nearest(
    queries: Rows, chunk: Rows, *, k: int, rooted: bool
) -> tuple[Float[Array, "q c"], Float[Array, "q c"], Int[Array, "q c"]]:
    """The k rows of a chunk, or all, of the least `least`: both bounds and the ids."""
    bounds = _bounds(jnp.asarray(queries.vectors), jnp.asarray(chunk.vectors), rooted)
    least, most = (counted_distances(queries, chunk, lambda *_, x=x: x) for x in bounds)
    score, column = lax.top_k(-least, min(k, least.shape[1]))
    return -score, jnp.take_along_axis(most, column, axis=1), jnp.asarray(chunk.ids)[column]


def _bounds(
    queries: Float32[Array, "m q d"], gallery: Float32[Array, "m n d"], rooted: bool
) -> tuple[Float[Array, "q n"], Float[Array, "q n"]]:
    """The least and the most of exact distances, as `frame.bounds` has them."""
    off, m = frame.share(queries.shape[2], np.float64), len(queries)

    def sides(q: Array, g: Array) -> tuple[Array, Array]:
        q, g = (x.astype(jnp.float64) for x in (q, g))
        own, others = (jnp.sum(x**2, axis=-1) for x in (q, g))
        lengths = own[:, None] + others[None]
        squared = lengths - 2.0 * jnp.dot(q, g.T, precision=lax.Precision.HIGHEST)
        return squared - off * lengths, squared + off * lengths

    if not rooted:
        return sides(queries[0], gallery[0])

    def add(total: tuple[Array, Array], pair: tuple[Array, Array]) -> tuple[tuple, None]:
        both = zip(total, sides(*pair), strict=True)
        return tuple(sum_ + jnp.sqrt(jnp.maximum(x, 0.0)) for sum_, x in both), None

    zero = jnp.zeros((queries.shape[1], gallery.shape[1]), jnp.float64)
    (least, most), _ = lax.scan(add, (zero, zero), (queries, gallery))
    rounding = (m + 8) * frame.ROUNDING[np.float64]
    return least * ((1 - rounding) / m), most * ((1 + rounding) / m)
