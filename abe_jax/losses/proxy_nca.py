"""Proxy-NCA: each image nearer to its class's proxy than to all others."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.term import Parameter, Parameters, Term


@checked
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

    Raises ArgumentError where vectors and proxies are not of the same learners.
    Source: Movshovitz-Attias et al., No Fuss Distance Metric Learning using Proxies, ICCV 2017
    (arXiv 1703.07464), the NCA loss over proxies; length 3 follows published implementations.
    """
    here = pairs.present(labels, mask)
    y = classes_.unit(classes_.for_learners(proxies, vectors, 2))
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    lengths = jnp.sum(x * x, axis=-1)[:, :, None] + jnp.sum(y * y, axis=-1)[:, None, :]
    squared = scale**2 * (lengths - 2.0 * classes_.products(x, y))
    count = squared.shape[-1]
    positive = classes_.own(squared, labels, classes_.among(labels, count))
    if count == 1:
        return classes_.mean_of_rows(positive, here)
    others = labels[:, None] != jnp.arange(count, dtype=labels.dtype)[None, :]
    negative = jax.nn.logsumexp(jnp.where(others[None], -squared, -jnp.inf), axis=-1)
    return classes_.mean_of_rows(positive + negative, here)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxyNCA(Term):
    """Each image nearer to the proxy of its class than to all other proxies.

    The proxies [m, classes, d] start as those of NormSoftmax. Only their directions matter: their
    length sets how far a step of the optimiser turns them.
    """

    name: str = "proxy_nca"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    scale: Amount = 3.0  # length of vectors and proxies

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return classes_.class_proxies(embeddings, classes)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        proxies = parameters["proxies"]
        return proxy_nca(batch.vectors, proxies, batch.labels, scale=self.scale, mask=batch.mask)
