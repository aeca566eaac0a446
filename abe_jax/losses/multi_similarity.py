"""The multi-similarity loss: hard pairs mined, and weighted against each other within an anchor."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Apart, Cosine, Steepness
from abe_jax.losses import cosines, pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


def informative(
    c: cosines.Cosines, epsilon: float
) -> tuple[Bool[Array, "m b b"], Bool[Array, "m b b"]]:
    """The positives and the negatives that are hard for their anchor, within epsilon.

    A positive is, where its cosine less epsilon is below the greatest of the anchor's negatives; a
    negative, where its cosine and epsilon are above the least of the positives. An anchor without
    positives or without negatives has none of either kind.
    """
    s = lax.stop_gradient(c.values)
    nearest = jnp.max(
        jnp.where(c.negative[None], s, -jnp.inf), axis=-1, keepdims=True, initial=-jnp.inf
    )
    farthest = jnp.min(
        jnp.where(c.positive[None], s, jnp.inf), axis=-1, keepdims=True, initial=jnp.inf
    )
    easy = s - epsilon >= nearest, s + epsilon <= farthest  # False for NaN, which stays to be seen
    return c.positive[None] & ~easy[0], c.negative[None] & ~easy[1]


@checked
def multi_similarity(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    mined: bool = True,
    epsilon: float = 0.1,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Multi-similarity loss: a soft maximum over an anchor's positives, and over its negatives.

    With s the cosine, P the positives and N the negatives of anchor i, its term is

        log(1 + sum_{j in P} exp(-alpha (s_ij - base))) / alpha
            + log(1 + sum_{k in N} exp(beta (s_ik - base))) / beta

    and the loss is the mean over all rows that are there, also over those whose term is 0. `mined`
    keeps of P those with s_ij < max_{k in N} s_ik + `epsilon`, of N those with
    s_ik > min_{j in P} s_ij - `epsilon`, before anything of them is dropped: an anchor without
    positives or without negatives adds 0. What is kept has no gradient of its own. Not `mined`, an
    anchor with pairs of one kind alone has that kind's part.

    `vectors` [b, d], or [b, m, d] of any length, of which the cosine is taken: then the loss is the
    sum over the m learners, each mined on its own. Images where `mask` is False are not there.
    Computed in float32 whatever the type of `vectors`, memory O(m b^2). No pairs give 0 with
    gradient 0.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning,
    CVPR 2019, arXiv 1904.06627, eq. 15, mining as eq. 11 and 12. Equal to
    pytorch-metric-learning's MultiSimilarityLoss, given the pairs of its MultiSimilarityMiner where
    `mined`; so are its defaults (its alpha, beta, base), which the authors' public code has near
    to them. That code also leaves out positives whose cosine is within 1e-5 of 1.
    """
    c = cosines.compared(vectors, labels, mask)
    positive, negative = c.positive[None], c.negative[None]
    if mined:
        positive, negative = informative(c, epsilon)
    near = _log_one_and_sum(-alpha * (c.values - base), positive) / alpha
    far = _log_one_and_sum(beta * (c.values - base), negative) / beta
    here = pairs.over_learners(pairs.present(labels, mask), c.values.shape[0])
    return jnp.sum(pairs.masked_mean(near + far, here))


def _log_one_and_sum(
    logits: Float[Array, "m b b"], select: Bool[Array, "... b b"]
) -> Float[Array, "m b"]:
    """log(1 + the sum of exp over what is selected of each row)."""
    chosen = jnp.where(select, logits, pairs.NOTHING)
    return jax.nn.softplus(jax.nn.logsumexp(chosen, axis=-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiSimilarity(PairTerm):
    """Hard pairs, mined and weighted against the others of their anchor."""

    name: str = "multi_similarity"
    alpha: Steepness = 2.0  # of the part of positives
    beta: Steepness = 50.0  # and of that of negatives
    base: Cosine = 0.5  # the paper's lambda: positives are to be above it, negatives below
    mined: bool = True  # False: all pairs
    epsilon: Apart = 0.1  # how far from hard a mined pair may be

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return multi_similarity(batch.vectors, labels, mask=batch.mask, **self.options())
