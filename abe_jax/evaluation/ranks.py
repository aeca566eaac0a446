"""The ranks of given gallery rows for each query, without the ranking itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from abe_jax.evaluation import knn
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.search import BLOCK, Distance, Rows, counted_distances, query_blocks


def ranks(
    queries: Vectors,
    gallery: Vectors,
    targets: Int[np.ndarray, "q t"],
    *,
    rows: Int[np.ndarray, " q"] | None = None,
    block: int = BLOCK,
) -> Int[np.ndarray, "q t"]:
    """How many gallery rows stand before each target row: 0 is the nearest neighbour.

    By the distances of `knn` with concatenated learners, and by its order: equal distances
    rank by gallery index. With `rows`, only queries[rows] are ranked, and as in `exclude_self` the
    queries are the gallery and a query's own row does not count. Row i of `targets` are gallery
    rows other than the query's own; -1 is no target, and its rank says nothing. Counted in blocks:
    no list as long as the gallery is sorted. Raises UserError as `knn`.
    """
    ranking = Ranking(block=block)
    search = knn.prepare(
        queries, gallery, exclude_self=rows is not None, groups=None, ranking=ranking
    )
    before = np.zeros(targets.shape, np.int64)
    for at, these in query_blocks(search, np.arange(len(targets)) if rows is None else rows):
        number = at.stop - at.start
        missing = ((0, search.block - number), (0, 0))
        columns = np.pad(targets[at], missing, constant_values=-1).astype(np.int32)
        reach = jnp.full(columns.shape, jnp.inf)
        for chunk in search.gallery:
            near = _distances(these, chunk, columns, distance=search.distance)
            reach = jnp.minimum(reach, near)
        for chunk in search.gallery:
            counted = _before(these, chunk, columns, reach, distance=search.distance)
            before[at] += np.asarray(counted)[:number]
    return before


@partial(jax.jit, static_argnames="distance")
def _distances(
    queries: Rows, chunk: Rows, targets: Int[Array, "q t"], *, distance: Distance
) -> Float[Array, "q t"]:
    """The distances to those targets that are in the chunk, infinite to the others."""
    distances = counted_distances(queries, chunk, distance)
    column = targets - chunk.ids[0]
    inside = (column >= 0) & (column < distances.shape[1])
    clipped = jnp.clip(column, 0, distances.shape[1] - 1)
    own = jnp.take_along_axis(distances, clipped, axis=1)
    return jnp.where(inside, own, jnp.inf)


@partial(jax.jit, static_argnames="distance")
def _before(
    queries: Rows,
    chunk: Rows,
    targets: Int[Array, "q t"],
    reach: Float[Array, "q t"],
    *,
    distance: Distance,
) -> Int[Array, "q t"]:
    """How many rows of the chunk are nearer than each target, or as near with a lower index."""
    distances = counted_distances(queries, chunk, distance)

    def count(one: tuple[Array, Array]) -> Array:
        target, reached = (part[:, None] for part in one)
        nearer = (distances < reached) | ((distances == reached) & (chunk.ids[None] < target))
        # Another program found `reach`, which on a GPU may round a product otherwise.
        return jnp.sum(nearer & (chunk.ids[None] != target), axis=1, dtype=jnp.int32)

    return lax.map(count, (targets.T, reach.T)).T
