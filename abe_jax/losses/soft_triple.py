"""SoftTriple: a softmax over classes of several centres each, which are pulled together."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.bounds import Amount, Apart, Centres, Natural, Scale, Temperature
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.compared_classes import ComparedClasses, compared_classes
from abe_jax.losses.term import Parameter, Parameters, Term


@checked
def soft_triple(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m n d"],
    labels: Int[Array, " b"],
    *,
    centres: int = 10,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    tau: float = 0.2,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """SoftTriple: cross-entropy of similarities to classes of several centres each.

    The similarity of image x and class z is S_z = sum_i q_i x.w_i over the k = `centres` centres
    w_i of z, where q is the softmax of x.w_i / `gamma`, x and w of unit length. The term of image x
    of class y is -log( e / (e + sum_{z != y} exp(s S_z)) ) with e = exp(s (S_y - m)), s the scale
    (lambda of the paper) and m the margin (delta). To the mean over images comes `tau` times the
    mean over classes of the sum of |w_i - w_j| over i < j, divided by k (k - 1), which pulls a
    class's centres together; of one centre there is none. The loss is summed over learners.

    `vectors` [b, d] with `proxies` [c k, d], or [b, m, d] with [m, c k, d]; the centres of class z
    are the rows z k .. z k + k - 1. Computed in float32, memory O(m b c k + m c k (k + d)).

    `subsample`, `key`: a softmax over some classes only, as in `norm_softmax`; the mean of the
    centres' distances is over the same classes.

    Images where `mask` is False are not there, whatever their label; of the others a label that is
    not one of 0 .. c - 1 makes the loss NaN. A batch without images has loss and gradient 0, the
    centres' distances too. A zero vector has similarity 0 to every class.

    SoftTripleLoss of pytorch-metric-learning is the same without `subsample`, with its
    SparseCentersRegularizer as `weight_regularizer` and tau as `weight_reg_weight`; by itself it
    has tau 0.

    Raises ArgumentError where vectors and proxies are not of the same learners, where the proxies
    are not `centres` for each class, and for a subsample without a key.
    Source: Qian et al., SoftTriple Loss: Deep Metric Learning Without Triplet Sampling, ICCV 2019
    (arXiv 1909.05235), the sections on multiple centres and on their adaptive number.
    """
    c = compared_classes(
        vectors, proxies, labels, mask, centres=centres, subsample=subsample, key=key
    )
    each = c.cosines()
    similarities = jnp.sum(jax.nn.softmax(each / gamma, axis=-1) * each, axis=-1)
    own = classes_.at_index(similarities, c.slot) - margin
    loss = c.cross_entropy(scale * own, scale * similarities)
    return loss + tau * _spread(c) if centres > 1 else loss


def _spread(c: ComparedClasses) -> Float[Array, ""]:
    """The centres' distances by their definition above; 0 where the batch has no image.

    As distances and not as sqrt(2 - 2 w.w), which is the same: near 0 that has no digits left.
    """
    learners, _, size = c.proxies.shape
    every, k = jnp.ones(c.centres, bool), c.centres
    together = c.proxies.reshape(-1, k, size)
    distances = pairs.distances(pairs.squared_distances(together, every))
    others = pairs.over_learners(~jnp.eye(k, dtype=bool), len(together))
    each = pairs.masked_sum(distances, others) / (2 * k * (k - 1))
    mean = pairs.masked_mean(each.reshape(learners, -1), pairs.over_learners(c.counts, learners))
    return jnp.where(jnp.any(c.here), jnp.sum(mean), 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftTriple(Term):
    """A softmax over classes of several centres each, and the distances of a class's centres.

    The proxies [m, classes * centres, d] start as those of NormSoftmax. The paper has 10 centres
    for classes of many images, 2 for those of few (SOP).
    """

    name: str = "soft_triple"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    centres: Centres = 10  # proxies of each class, K of the paper
    scale: Scale = 20.0  # lambda of the paper
    gamma: Temperature = 0.1  # of the softmax over a class's centres
    margin: Apart = 0.01  # delta of the paper
    tau: Amount = 0.2  # weight of the distances of a class's centres
    subsample: Natural = 0  # classes compared with at a step, the batch's own always; 0: all

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return classes_.class_proxies(embeddings, self.centres * classes)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        key = batch.known_key() if self.subsample else None
        proxies, options = parameters["proxies"], self.options()
        return soft_triple(
            batch.vectors, proxies, batch.labels, key=key, mask=batch.mask, **options
        )
