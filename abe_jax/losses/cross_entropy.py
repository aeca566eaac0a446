"""Cross-entropy of a linear classifier, with label smoothing."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.rows import Rows

KERNEL = nn.initializers.lecun_normal(batch_axis=(0,))


def cross_entropy(
    embedding: Float[Array, "b *m d"],
    kernel: Float[Array, "*m d c"],
    bias: Float[Array, "*m c"],
    labels: Int[Array, " b"],
    *,
    smoothing: float = 0.0,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Cross-entropy of softmax(x W + b) against the class, with label smoothing.

    The term of image x of class y is -sum_z t_z log softmax(x W + b)_z, where the target t is
    1 - smoothing at y plus smoothing / c at each of the c classes, y too. The loss is the mean over
    images, summed over learners. `embedding` [b, d] with `kernel` [d, c] and `bias` [c], or
    [b, m, d] with [m, d, c] and [m, c]. Computed in float32, memory O(m b c).

    With one class it is 0. Images where `mask` is False are not there, whatever their label; of the
    others a label that is not one of 0 .. c - 1 makes the loss NaN.

    Raises UserError where embedding and parameters are not of the same learners.
    Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7; smoothing 0
    is the classifier of MultiGrain (Berman et al. 2019, arXiv 1902.05509).
    """
    here = pairs.present(labels, mask)
    w = classes_.for_learners(kernel, embedding, 2)
    x = pairs.without_absent(pairs.per_learner(embedding), here)
    logits = jnp.einsum("mbd,mdc->mbc", x, w, precision=lax.Precision.HIGHEST)
    logits = logits + classes_.for_learners(bias, embedding, 1)[:, None, :]
    valid = classes_.inside(labels, logits.shape[-1])
    target = (1.0 - smoothing) * classes_.own(logits, labels, valid)
    target = target + smoothing * jnp.mean(logits, axis=-1)
    return classes_.mean_of_rows(jax.nn.logsumexp(logits, axis=-1) - target, here)


class CrossEntropyLoss(nn.Module):
    """`cross_entropy` with a classifier of its own for each learner, on the embedding before L2.

    `kernel` [m, d, classes] starts LeCun-normal, `bias` [m, classes] at zero. Raises UserError for
    `classes` 0.
    """

    classes: int
    smoothing: float

    @nn.compact
    def __call__(self, rows: Rows) -> Float[Array, ""]:
        x = rows.embeddings.embedding
        count = classes_.known(self.classes)
        kernel = self.param("kernel", KERNEL, (*x.shape[1:], count))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[1], count))
        return cross_entropy(x, kernel, bias, rows.labels, smoothing=self.smoothing, mask=rows.mask)
