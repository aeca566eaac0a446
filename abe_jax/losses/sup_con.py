"""The supervised contrastive loss: each positive against all other rows, as a softmax."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Temperature
from abe_jax.losses import cosines, pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


@checked
def sup_con(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    temperature: float = 0.1,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Supervised contrastive loss: an anchor's positives among all other rows of the batch.

    With s the cosine over t, the `temperature`, the term of anchor i with positives P is

        mean_{j in P} -log( exp(s_ij) / sum_{a != i} exp(s_ia) )

    where a runs over all other rows, the positives too. The loss is the mean over anchors that have
    a positive (the paper prints the sum); those without one are among the a of others.

    `vectors` [b, d], or [b, m, d] of any length, of which the cosine is taken: then the loss is the
    sum over the m learners. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`, memory O(m b^2). No positive pair gives 0 with gradient 0.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, arXiv 2004.11362, eq. 2
    (L_out, the mean outside of the logarithm; the authors' code multiplies it by t over a base
    temperature of 0.07). Equal to pytorch-metric-learning's where the batch has a negative pair: of
    one class alone theirs is 0.
    """
    c = cosines.compared(vectors, labels, mask)
    logits = c.values / temperature
    others = (c.positive | c.negative)[None]
    every = jax.nn.logsumexp(jnp.where(others, logits, pairs.NOTHING), axis=-1)
    near = jnp.sum(jnp.where(c.positive[None], logits, 0.0), axis=-1)
    number = jnp.sum(c.positive, axis=1, dtype=jnp.float32)[None]
    anchors = pairs.over_learners(jnp.any(c.positive, axis=1), logits.shape[0])
    return jnp.sum(pairs.masked_mean(every - pairs.ratio(near, number), anchors))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SupCon(PairTerm):
    """Each positive of an anchor against all other rows, as a softmax over cosines."""

    name: str = "sup_con"
    temperature: Temperature = 0.1

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return sup_con(batch.vectors, labels, mask=batch.mask, **self.options())
