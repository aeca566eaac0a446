"""Boosted learners: each weighs the pairs by what the learners before it make of them."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount, Share
from abe_jax.errors import require
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters

ACCUMULATIONS = ("sum", "average")


@checked
def boosted(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    slope: float = 2.0,
    threshold: float = 0.5,
    cost: float = 25.0,
    start: float = 0.5,
    shrinkage: float = 0.06,
    negative_boost: float = 2.0,
    accumulate: str = "sum",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The binomial deviance of cosines, its pairs weighted from learner to learner.

    s is the cosine of a pair by one learner, m its sign: 1 of a positive, -`cost` of a negative
    pair. The term of a pair is

        l = log(1 + exp(-z)), z = slope (s - threshold) m

    and its share W is 1 over the number of positive or of negative pairs. Pairs are ordered. A row
    is not compared with itself, but is counted among the positive pairs. The loss is the mean over
    learners of sum w W l. For the first learner w = 1 and a pair's account is a = `start`; behind
    each learner

        a <- a + shrinkage z,    w = sigmoid(-a), of negative pairs times `negative_boost`

    of which nothing has a gradient. With `accumulate="average"` the account is a weighted average
    of all learners so far, a <- (1 - nu) a + nu z with nu = 2 / (2 + i), i = 0 for the first, and
    `start` and `shrinkage` have no part.

    `vectors` [b, d] or [b, m, d], learners in the order in which they follow each other; rows where
    `mask` is False are not there. No pair gives 0 with gradient 0. Computed in float32.

    Raises ArgumentError for an unknown `accumulate`.
    Source: Opitz et al., Deep Metric Learning with BIER: Boosting Independent Embeddings Robustly,
    arXiv 1801.04815; numbers, the count of the diagonal and the sum over learners as in the
    authors' public code. The average follows the online boosting of Opitz et al., BIER, ICCV 2017,
    algorithm 1; the public code's does not double the weights of negative pairs, for which
    `negative_boost` is to be 1.
    """
    require("accumulate", accumulate, ACCUMULATIONS)
    here = pairs.present(labels, mask)
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    positive, negative = pairs.relations(labels, here)
    alike = _number(positive) + _number(here)  # each with itself too
    share = jnp.where(positive, 1.0 / jnp.maximum(alike, 1.0), 0.0)
    share = jnp.where(negative, 1.0 / jnp.maximum(_number(negative), 1.0), share)
    sign = jnp.where(negative, -cost, 1.0)
    boost = jnp.where(negative, negative_boost, 1.0)
    account, weight = jnp.full(sign.shape, start, jnp.float32), jnp.ones(sign.shape, jnp.float32)
    total = jnp.float32(0)
    for i, cosines in enumerate(classes_.products(x, x)):
        z = slope * (cosines - threshold) * sign
        total = total + jnp.sum(weight * share * jax.nn.softplus(-z))
        if accumulate == "sum":
            account = account + shrinkage * z
        else:
            nu = 2.0 / (2.0 + i)
            account = (1.0 - nu) * account + nu * z
        weight = lax.stop_gradient(jax.nn.sigmoid(-account)) * boost
    return total / len(x)


def _number(select: Bool[Array, "*shape"]) -> Float[Array, ""]:
    return jnp.sum(select, dtype=jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boosted(PairTerm):
    """The deviance of cosines, each learner on what those before it leave."""

    name: str = "boosted"
    slope: Amount = 2.0  # of the deviance
    threshold: Share = 0.5  # that parts positive from negative pairs
    cost: Amount = 25.0  # how much steeper the deviance of negative pairs is
    start: Amount = 0.5  # of a pair's account
    shrinkage: Amount = 0.06  # of what a learner adds to it
    negative_boost: Amount = 2.0  # multiplies the weights of negative pairs behind the first
    accumulate: str = "sum"  # sum | average

    def __post_init__(self) -> None:
        super().__post_init__()
        require("accumulate", self.accumulate, ACCUMULATIONS)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return boosted(batch.vectors, labels, mask=batch.mask, **self.options())
