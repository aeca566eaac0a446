"""What a device does: a block of queries compared with a chunk of a gallery, the best kept."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from abe_jax.evaluation import top_k
from abe_jax.evaluation.order import NO_ROW

Distance = Callable[[Array, Array], Array]  # [m, q, d] x [m, n, d] -> float32 [q, n]


class Rows(NamedTuple):
    """Vectors of m learners with the row each came from and the group it belongs to.

    Packed codes, or whatever else the search's distance compares: they are m words, d = 1.
    """

    vectors: Shaped[np.ndarray | Array, "m n d"]
    ids: Int[np.ndarray | Array, " n"]
    groups: Int[np.ndarray | Array, " n"]


class Nearest(NamedTuple):
    """The best neighbours so far, nearest first."""

    distances: Float[np.ndarray | Array, "q k"]
    indices: Int[np.ndarray | Array, "q k"]


@partial(jax.jit, static_argnames=("distance", "light"))
def merged(
    best: Nearest, queries: Rows, chunk: Rows, *, distance: Distance, light: bool
) -> Nearest:
    """The best of `best` and a chunk; of equals the earlier is kept, that is, lower indices.

    `light`: the distances to a few rows are sooner computed again than all are kept.
    """
    k = best.indices.shape[1]
    distances, again = counted_distances(queries, chunk, distance), None
    if light:
        again = partial(_members, queries, chunk, distance)
    else:  # kept, or to gather some of them might be to compute all of them once more
        distances = lax.optimization_barrier(distances)
    near, column = top_k.smallest(distances, min(k, distances.shape[1]), again)
    # What does not count is infinitely far, and there the k empty entries of `best` come first.
    scores = jnp.concatenate([-best.distances, -near], axis=1)
    indices = jnp.concatenate([best.indices, chunk.ids[column]], axis=1)
    score, column = lax.top_k(scores, k)
    return Nearest(-score, jnp.take_along_axis(indices, column, axis=1))


def counted_distances(queries: Rows, chunk: Rows, distance: Distance) -> Float[Array, "q n"]:
    """The distances from queries to a chunk, infinite to the rows that do not count for a query.

    A row of what is no number, in a damaged file, does not count.
    """
    distances = distance(jnp.asarray(queries.vectors), jnp.asarray(chunk.vectors))
    there = counts(Numbers(*queries[1:]), Numbers(*chunk[1:]))
    return jnp.where(there & ~jnp.isnan(distances), distances, jnp.inf)


class Numbers(NamedTuple):
    """The number of each row, and its group."""

    ids: Int[np.ndarray | Array, " n"]
    groups: Int[np.ndarray | Array, " n"]


def counts(queries: Numbers, chunk: Numbers) -> Bool[Array, "q n"]:
    """Which rows count for which query: not padding, not the query itself, not of its group."""
    return (
        (chunk.ids[None] != NO_ROW)
        & (chunk.ids[None] != queries.ids[:, None])
        & (chunk.groups[None] != queries.groups[:, None])
    )


def _members(
    queries: Rows, chunk: Rows, distance: Distance, chosen: Int[Array, "q g"], length: int
) -> Float[Array, "q members"]:
    """`counted_distances` to the members of some groups of `length` rows, of each query its own."""
    m, _, d = chunk.vectors.shape
    rows = Rows(
        jnp.moveaxis(chunk.vectors.reshape(m, -1, length, d)[:, chosen], 1, 0).reshape(
            len(chosen), m, -1, d
        ),
        *(part.reshape(-1, length)[chosen].reshape(len(chosen), -1) for part in chunk[1:]),
    )
    own = Rows(jnp.moveaxis(queries.vectors, 1, 0)[:, :, None], *(p[:, None] for p in queries[1:]))
    of_one = partial(counted_distances, distance=distance)
    return jax.vmap(of_one)(own, rows)[:, 0]


def padded(rows: Rows, length: int) -> Rows:
    """Rows filled up to `length` with what is nobody's neighbour."""
    missing = length - len(rows.ids)
    if not missing:
        return rows
    return Rows(
        np.pad(rows.vectors, ((0, 0), (0, missing), (0, 0))),
        np.pad(rows.ids, (0, missing), constant_values=NO_ROW),
        np.pad(rows.groups, (0, missing)),
    )
