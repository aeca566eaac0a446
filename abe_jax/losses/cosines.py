"""Cosines between all rows of a batch, for losses of similarities."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs


class Cosines(NamedTuple):
    """All rows of a batch against all, as `pairs.Compared` has them: ordered pairs, both there."""

    values: Float[Array, "m b b"]
    positive: Bool[Array, "b b"]
    negative: Bool[Array, "b b"]


def compared(
    vectors: Float[Array, "b *m d"], labels: Int[Array, " b"], mask: Bool[Array, " b"] | None
) -> Cosines:
    """The cosine of every two rows, whatever their lengths, and which pairs are what.

    A zero vector has cosine 0 with all and the gradient of a vector of length 1. Values in rows
    and columns that are not there are 0, and their pairs of no kind.
    """
    here = pairs.present(labels, mask)
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    return Cosines(classes_.products(x, x), *pairs.relations(labels, here))
