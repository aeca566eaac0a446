"""The circle loss: each pair weighted by how far its cosine is from where it should be."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Scale, Share
from abe_jax.losses import cosines, pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


@checked
def circle(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 0.4,
    gamma: float = 80.0,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Circle loss of pairs: each weighted by how far its cosine is from its optimum.

    Where a pair of cosines (negative, positive) is as good as another is told by circles around
    (0, 1), hence the name.

    With s the cosine, m the `margin`, P the positives and N the negatives of anchor i, its term is

        log(1 + sum_{k in N} exp(gamma a_k (s_ik - m)) sum_{j in P} exp(-gamma a_j (s_ij - 1 + m)))

    with the weights a_k = [s_ik + m]_+ of a negative and a_j = [1 + m - s_ij]_+ of a positive,
    which have no gradient. The loss is the mean over anchors with a positive and a negative.

    `vectors` [b, d], or [b, m, d] of any length, of which the cosine is taken: then the loss is the
    sum over the m learners. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`, memory O(m b^2). Without such an anchor it is 0 with gradient 0.

    Source: Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, CVPR
    2020, arXiv 2002.10857, eq. 6 with the weights of eq. 5 (pair-wise labels), whose gradient in
    the paper takes them as fixed; every row of the batch is an anchor. Equal to
    pytorch-metric-learning's, which averages over terms above 0: so are all, unless one is too
    small for float32.
    """
    c = cosines.compared(vectors, labels, mask)
    fixed = lax.stop_gradient(c.values)
    near = -gamma * jnp.maximum(1.0 + margin - fixed, 0.0) * (c.values - (1.0 - margin))
    far = gamma * jnp.maximum(fixed + margin, 0.0) * (c.values - margin)
    logits = [
        jax.nn.logsumexp(jnp.where(select[None], values, pairs.NOTHING), axis=-1)
        for values, select in ((near, c.positive), (far, c.negative))
    ]
    both = jnp.any(c.positive, axis=1) & jnp.any(c.negative, axis=1)
    terms = jax.nn.softplus(logits[0] + logits[1])
    return jnp.sum(pairs.masked_mean(terms, pairs.over_learners(both, terms.shape[0])))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circle(PairTerm):
    """Every pair at a pace of its own, by how far its cosine is from where it should be."""

    name: str = "circle"
    margin: Share = 0.4  # m of the paper: positives are to be above 1 - m, negatives below m
    gamma: Scale = 80.0  # scale of the cosines

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return circle(batch.vectors, labels, mask=batch.mask, **self.options())
