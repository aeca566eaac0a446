"""Ranks by similarity to a query, made smooth: where one row passes another, a sigmoid and no step.

A query at a time: b x b values for each learner are alive, forwards and backwards.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from abe_jax.losses import cosines, pairs


def ahead(scores: Float[Array, "m b"], temperature: float) -> Float[Array, "m b b"]:
    """How far each other row k stands before row j, sigmoid((s_k - s_j) / temperature); [m, j, k].

    0 for a row and itself. Rows with equal scores stand before each other by a half.
    """
    itself = jnp.eye(scores.shape[1], dtype=bool)[None]
    difference = scores[:, None, :] - scores[:, :, None]
    return jnp.where(itself, 0.0, jax.nn.sigmoid(difference / temperature))


def ranks(before: Float[Array, "m b b"], select: Bool[Array, " b"]) -> Float[Array, "m b"]:
    """Each row's rank among those selected: 1, and how many of these are ahead of it."""
    return 1.0 + jnp.sum(jnp.where(select[None, None, :], before, 0.0), axis=-1)


def queries_themselves(rows: int, included: bool) -> Bool[Array, "b b"]:
    """For each query the row that it is itself; none where queries are not included."""
    return jnp.eye(rows, dtype=bool) if included else jnp.zeros((rows, rows), bool)


def mean_over_queries(
    c: cosines.Cosines,
    positive: Bool[Array, "b b"],
    ranked: Bool[Array, "b b"],
    value: Callable[[Array, Array, Array], Array],
) -> Float[Array, ""]:
    """The mean of `value` over all rows with a positive as queries, summed over learners.

    `value(scores, positive, ranked)` gets a query's cosines [m, b], which of the rows it is to find
    [b] and which it ranks [b], as `positive` and `ranked` say, and returns [m].
    """

    @jax.checkpoint
    def of_query(row: tuple[Array, Array, Array]) -> Array:
        return value(*row)

    each = lax.map(of_query, (jnp.swapaxes(c.values, 0, 1), positive, ranked))
    queries = pairs.over_learners(jnp.any(c.positive, axis=1), c.values.shape[0])
    return jnp.sum(pairs.masked_mean(jnp.swapaxes(each, 0, 1), queries))
