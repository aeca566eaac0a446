"""SimCLR's loss: each positive pair against the negatives of its anchor, as a softmax."""

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
def nt_xent(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    temperature: float = 0.1,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """NT-Xent, the normalised temperature-scaled cross-entropy: a positive among the negatives.

    With s the cosine over `temperature`, the term of a positive pair (i, j) is

        -log( exp(s_ij) / (exp(s_ij) + sum_{k in N} exp(s_ik)) )

    with N the negatives of i. The loss is the mean over all ordered positive pairs. SimCLR has two
    views of each image, hence one positive for each row, and the sum runs over all other rows;
    where an anchor has several, the other positives are in no sum here (they are in `sup_con`'s).

    `vectors` [b, d], or [b, m, d] of any length, of which the cosine is taken: then the loss is the
    sum over the m learners. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`, memory O(m b^2). No positive or no negative pair gives 0 with
    gradient 0.

    Source: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML
    2020, arXiv 2002.05709, eq. 1 and algorithm 1. Equal to pytorch-metric-learning's NTXentLoss,
    with several positives too.
    """
    c = cosines.compared(vectors, labels, mask)
    logits = c.values / temperature
    far = jax.nn.logsumexp(jnp.where(c.negative[None], logits, pairs.NOTHING), axis=-1)
    terms = jax.nn.softplus(far[:, :, None] - logits)
    return jnp.sum(pairs.masked_mean(terms, pairs.over_learners(c.positive, terms.shape[0])))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NTXent(PairTerm):
    """Two views of an image against all others, as a softmax over cosines.

    The views come from the batch: `data.repeats`, or a sampler that draws an image twice.
    """

    name: str = "nt_xent"
    label: str = "instance"  # instance | class: what makes two rows of a batch a positive pair
    temperature: Temperature = 0.1

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return nt_xent(batch.vectors, labels, mask=batch.mask, **self.options())
