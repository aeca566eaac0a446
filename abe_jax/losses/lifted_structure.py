"""The lifted structured loss: a positive pair against all negatives of both its ends."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


@checked
def lifted_structure(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 1.0,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Lifted structured loss: each positive pair against the negatives of both its ends.

    J_ij = log(sum_k exp(margin - D_ik) + sum_l exp(margin - D_jl)) + D_ij for each unordered
    positive pair, k over the negatives of i and l over those of j, D the Euclidean distance; the
    loss is 1 / (2 |P|) sum [J_ij]_+^2 over the |P| pairs. `vectors` [b, d], or [b, m, d]: then it
    is the sum over the m learners. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`, the sum over k once for each row: memory and time O(b^2). No
    positive or no negative pair gives 0 with gradient 0.

    Distances are not bounded in the paper: on vectors of length one the negatives of a large batch
    outweigh the margin, whatever the embedding. Objectives give it the embedding before L2.

    Source: Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016,
    arXiv 1511.06452, eq. 4 (the smooth bound that the paper minimises, not the maximum of eq. 3).
    Equal to pytorch-metric-learning's with neg_margin = margin and pos_margin = 0.
    """
    c = pairs.compared(vectors, labels, mask)
    inside = jnp.where(c.negative[None], margin - c.distances, pairs.NOTHING)
    near = jax.nn.logsumexp(inside, axis=-1)
    j = jnp.logaddexp(near[:, :, None], near[:, None, :]) + c.distances
    once = pairs.over_learners(jnp.triu(c.positive), c.distances.shape[0])
    return jnp.sum(pairs.masked_mean(0.5 * jnp.maximum(j, 0.0) ** 2, once))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiftedStructure(PairTerm):
    """Each positive pair against all negatives of both its ends, on the embedding before L2."""

    name: str = "lifted_structure"
    margin: Amount = 1.0

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return lifted_structure(batch.unnormalised, labels, mask=batch.mask, **self.options())
