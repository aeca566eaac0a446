"""Proxy-NCA: each image nearer to its class's proxy than to all others."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.rows import Rows


def proxy_nca(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m c d"],
    labels: Int[Array, " b"],
    *,
    scale: float = 3.0,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Proxy-NCA: an image's distance to its own proxy against those to all others.

    The term of image x of class y is -log( exp(-d(x, p_y)) / sum_{z != y} exp(-d(x, p_z)) ), d the
    squared Euclidean distance of vector and proxy, both scaled to the length `scale`. It has no
    lower bound at 0. The loss is the mean over images, summed over learners. `vectors` [b, d] with
    `proxies` [c, d], or [b, m, d] with [m, c, d]. Computed in float32, memory O(m b c).

    With one class the sum over the other proxies is empty; its logarithm counts 0 there, so that
    the term is d(x, p_y). A zero vector is at distance `scale` from every proxy. Images where
    `mask` is False are not there, whatever their label; of the others a label that is not one of
    0 .. c - 1 makes the loss NaN.

    ProxyNCALoss of pytorch-metric-learning differs: its denominator keeps the positive proxy (a
    softmax, bounded by 0), and `softmax_scale` multiplies distances of unit vectors, as scale^2
    does here.

    Raises UserError where vectors and proxies are not of the same learners.
    Source: Movshovitz-Attias et al., No Fuss Distance Metric Learning using Proxies, ICCV 2017
    (arXiv 1703.07464), the NCA loss over proxies; length 3 follows published implementations.
    """
    here = pairs.present(labels, mask)
    y = classes_.unit(classes_.for_learners(proxies, vectors, 2))
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    lengths = jnp.sum(x * x, axis=-1)[:, :, None] + jnp.sum(y * y, axis=-1)[:, None, :]
    squared = scale**2 * (lengths - 2.0 * classes_.products(x, y))
    count = squared.shape[-1]
    positive = classes_.own(squared, labels, classes_.inside(labels, count))
    if count == 1:
        return classes_.mean_of_rows(positive, here)
    others = labels[:, None] != jnp.arange(count, dtype=labels.dtype)[None, :]
    negative = jax.nn.logsumexp(jnp.where(others[None], -squared, -jnp.inf), axis=-1)
    return classes_.mean_of_rows(positive + negative, here)


class ProxyNCALoss(nn.Module):
    """`proxy_nca` with proxies [m, classes, d] of its own, which start as those of NormSoftmax.

    Only their directions matter: their length sets how far a step of the optimiser turns them.
    Raises UserError for `classes` 0.
    """

    classes: int
    scale: float

    @nn.compact
    def __call__(self, rows: Rows) -> Float[Array, ""]:
        vectors = rows.embeddings.vectors
        proxies = classes_.class_proxies(self, self.classes, vectors)
        return proxy_nca(vectors, proxies, rows.labels, scale=self.scale, mask=rows.mask)
