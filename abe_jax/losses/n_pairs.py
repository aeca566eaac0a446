"""The N-pair loss: a softmax over one positive of every class."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


def first_two(
    labels: Int[Array, " b"], here: Bool[Array, " b"]
) -> tuple[Bool[Array, " b"], Bool[Array, " b"]]:
    """Which rows are the anchors, and which the positives: each class's first two that are there.

    Only of classes with two rows or more.
    """
    positive, _ = pairs.relations(labels, here)
    earlier = jnp.sum(jnp.tril(positive), axis=1)
    second = here & (earlier == 1)
    return here & (earlier == 0) & jnp.any(positive & second[None, :], axis=1), second


@checked
def n_pairs(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    length_weight: float = 0.0,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """N-pair loss: an anchor knows its positive among one positive of every class of the batch.

    Of each of the N classes with two rows or more the first row is the anchor x_i and the second
    the positive y_i: 1/N sum_i log(1 + sum_{j != i} exp(x_i . y_j - x_i . y_i)), plus
    `length_weight` times the mean squared length of these 2N vectors. Further rows of a class, and
    classes of one row, play no part. The paper takes vectors that are not of unit length.
    `vectors` [b, d], or [b, m, d]: then the loss is the sum over the m learners. Images where
    `mask` is False are not there. Computed in float32 whatever the type of `vectors`, memory
    O(b^2). One class alone gives 0 for the first part; none gives 0 with gradient 0.

    Source: Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016,
    section 3.2 (N-pair-mc, and the L2 regularisation of the length, whose weight the paper does not
    print). TensorFlow's `npairs_loss` takes 0.25 * 0.002 times the mean of |x_i|^2 plus that of
    |y_i|^2, which is `length_weight` 0.001 here (in later versions 0.003, and so 0.0015). Without
    `length_weight` equal to pytorch-metric-learning's on vectors that it is told not to normalise.
    """
    here = pairs.present(labels, mask)
    x = pairs.without_absent(pairs.per_learner(vectors), here)
    anchor, positive = first_two(labels, here)
    products = jnp.einsum("mid,mjd->mij", x, x, precision=lax.Precision.HIGHEST)
    own = (labels[:, None] == labels[None, :]) & positive[None, :]
    target = jnp.sum(jnp.where(own[None], products, 0.0), axis=-1)
    every = jax.nn.logsumexp(jnp.where(positive[None, None], products, pairs.NOTHING), axis=-1)
    learners = x.shape[0]
    entropy = pairs.masked_mean(every - target, pairs.over_learners(anchor, learners))
    lengths = jnp.sum(x * x, axis=-1)
    used = pairs.over_learners(anchor | positive, learners)
    return jnp.sum(entropy + length_weight * pairs.masked_mean(lengths, used))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NPairs(PairTerm):
    """One positive against the positives of all other classes, as a softmax, before L2."""

    name: str = "n_pairs"
    length_weight: Amount = 0.0  # of the squared lengths; TensorFlow's: 0.001

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return n_pairs(batch.unnormalised, labels, mask=batch.mask, **self.options())
