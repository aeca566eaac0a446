"""Distances, pair masks and masked reductions that every pair loss shares."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.errors import require

Choice = TypeVar("Choice")

# A logit that is not there, or the log of an empty sum: finite, so that its gradient is 0, not NaN.
NOTHING = -1e30


def choose(table: Mapping[str, Choice], name: str, argument: str) -> Choice:
    """The entry of `table` called `name`; an ArgumentError that suggests the nearest if none is."""
    require(argument, name, table)
    return table[name]


def per_learner(vectors: Float[Array, "b *m d"]) -> Float[Array, "m b d"]:
    """Vectors [b, d] or [b, m, d] as float32 [m, b, d]."""
    x = vectors.astype(jnp.float32)
    return jnp.swapaxes(x, 0, 1) if x.ndim == 3 else x[None]


def present(labels: Int[Array, " b"], mask: Bool[Array, " b"] | None) -> Bool[Array, " b"]:
    """The mask, or all True where there is none."""
    return jnp.ones(labels.shape, bool) if mask is None else mask


def without_absent(x: Float[Array, "m b d"], here: Bool[Array, " b"]) -> Float[Array, "m b d"]:
    """Absent rows set to 0, so that whatever they hold, NaN too, reaches no gradient."""
    return jnp.where(here[None, :, None], x, jnp.float32(0))


def squared_distances(x: Float[Array, "m b d"], here: Bool[Array, " b"]) -> Float[Array, "m b b"]:
    """Squared Euclidean distances between all rows, D_ij^2 = |x_i|^2 + |x_j|^2 - 2 x_i.x_j.

    Memory O(m b^2 + m b d): no array of differences is made. Two things keep this form exact where
    it matters, between vectors that nearly coincide. Distances do not depend on the origin, so the
    mean of the rows that are there is taken off first, as a constant: the rounding error is
    relative to the spread of the batch and not to the length of its vectors. And a value below
    0, which is rounding, is raised to 0 without cutting its gradient, 2 (x_i - x_j) all the same.
    """
    mean = ratio(jnp.sum(without_absent(x, here), axis=1), jnp.sum(here, dtype=jnp.float32))
    x = x - lax.stop_gradient(mean)[:, None]
    gram = jnp.einsum("mid,mjd->mij", x, x, precision=lax.Precision.HIGHEST)
    lengths = jnp.sum(x * x, axis=-1)
    raw = lengths[:, :, None] + lengths[:, None, :] - 2.0 * gram
    return raw + lax.stop_gradient(jnp.maximum(raw, 0.0) - raw)


def nan_if_infinite(loss: Float[Array, ""], squared: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The loss, or NaN where a squared distance is infinite: a hinge would hide it.

    For distances from differences; `squared_distances` gives NaN by itself.
    """
    return jnp.where(jnp.any(jnp.isinf(squared)), jnp.nan, loss)


def distances(squared: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Square roots whose gradient at 0 is 0 instead of infinite; NaN stays NaN."""
    zero = squared <= 0.0  # False for NaN, which therefore goes through the root
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared)))


class Compared(NamedTuple):
    """All rows of a batch against all: distances for each learner, and what each pair is.

    Pairs are ordered, both rows there. A positive has one label in both, a negative two; no row is
    paired with itself.
    """

    distances: Float[Array, "m b b"]
    positive: Bool[Array, "b b"]
    negative: Bool[Array, "b b"]


def compared(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    mask: Bool[Array, " b"] | None,
    squared: bool = False,
) -> Compared:
    """Euclidean distances, or squared ones, between all rows, and which pairs are what."""
    here = present(labels, mask)
    measured = squared_distances(without_absent(per_learner(vectors), here), here)
    return Compared(measured if squared else distances(measured), *relations(labels, here))


def relations(
    labels: Int[Array, " b"], here: Bool[Array, " b"]
) -> tuple[Bool[Array, "b b"], Bool[Array, "b b"]]:
    """Which ordered pairs are positive, and which negative, as in `Compared`."""
    both = here[:, None] & here[None, :]
    same = labels[:, None] == labels[None, :]
    return both & same & ~jnp.eye(labels.shape[0], dtype=bool), both & ~same


def over_learners(select: Bool[Array, "*shape"], learners: int) -> Bool[Array, "m *shape"]:
    """One selection for all learners."""
    return jnp.broadcast_to(select[None], (learners, *select.shape))


def hinge(margin: float, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """[margin - values]_+, NaN where values are NaN."""
    return jnp.maximum(margin - values, 0.0)


def active(terms: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Where a hinge is not 0; NaN counts, so that a mean over what is active shows it."""
    return ~(terms <= 0.0)


def masked_sum(
    terms: Float[Array, "m *shape"], select: Bool[Array, "m *shape"]
) -> Float[Array, " m"]:
    """Sum of the selected terms for each learner."""
    chosen = jnp.where(select, terms, jnp.float32(0))
    return jnp.sum(chosen.reshape(chosen.shape[0], -1), axis=-1)


def count(select: Bool[Array, "m *shape"]) -> Float[Array, " m"]:
    """Number of selected terms for each learner."""
    return jnp.sum(select.reshape(select.shape[0], -1), axis=-1, dtype=jnp.float32)


def ratio(total: Float[Array, "*shape"], number: Float[Array, "..."]) -> Float[Array, "*shape"]:
    """total / number (a scalar or one each); total itself, an empty sum, where number is 0."""
    return total / jnp.maximum(number, 1.0)


def masked_mean(
    terms: Float[Array, "m *shape"], select: Bool[Array, "m *shape"]
) -> Float[Array, " m"]:
    """Mean of the selected terms for each learner; 0 with gradient 0 where none is selected."""
    return ratio(masked_sum(terms, select), count(select))
