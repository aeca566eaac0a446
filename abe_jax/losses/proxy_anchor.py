"""Proxy-Anchor: each proxy pulls its class's images of a batch and pushes all others away."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.bounds import Amount, Apart, Natural, Scale
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.compared_classes import compared_classes
from abe_jax.losses.term import Parameter, Parameters, Term


@checked
def proxy_anchor(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m c d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 0.1,
    scale: float = 32.0,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Proxy-Anchor: proxies as anchors, the images of the batch as positives and negatives.

    With a = `scale` (alpha of the paper), d = `margin` (delta) and x.p of unit vectors, the loss of
    a learner is the mean of log(1 + sum_x exp(-a (x.p - d))), x the images of p's class, over the
    proxies p of classes that have images in the batch, plus the mean of
    log(1 + sum_x exp(a (x.p + d))), x the images of other classes, over all proxies. It is summed
    over learners. `vectors` [b, d] with `proxies` [c, d], or [b, m, d] with [m, c, d]. Computed in
    float32, memory O(m b c + m c d).

    `subsample` = s > 0, with `key`: "all proxies" are those of the batch's own classes and of
    others drawn evenly until s are together, as in `norm_softmax`. The second mean is then over
    these, in which own classes are more frequent than among all.

    An empty sum counts 0: a batch without images has loss and gradient 0. Images where `mask` is
    False are not there, whatever their label; of the others a label that is not one of 0 .. c - 1
    makes the loss NaN. A zero vector has cosine 0 to every proxy.

    ProxyAnchorLoss of pytorch-metric-learning is the same without `subsample`.

    Raises ArgumentError where vectors and proxies are not of the same learners, and for a subsample
    without a key.
    Source: Kim et al., Proxy Anchor Loss for Deep Metric Learning, CVPR 2020 (arXiv 2003.13911),
    equation 4.
    """
    c = compared_classes(vectors, proxies, labels, mask, subsample=subsample, key=key)
    cosines, there = c.cosines()[..., 0], c.here[:, None]
    positive, negative = c.own() & there, ~c.own() & there
    pull = _log_of_sum(scale * (margin - cosines), positive)
    push = _log_of_sum(scale * (margin + cosines), negative)
    seen = pairs.over_learners(jnp.any(positive, axis=0), len(cosines))
    every = pairs.over_learners(c.counts, len(cosines))
    loss = jnp.sum(pairs.masked_mean(pull, seen) + pairs.masked_mean(push, every))
    return jnp.where(jnp.any(c.here & ~c.valid), jnp.nan, loss)


def _log_of_sum(x: Float[Array, "m b s"], select: Bool[Array, "b s"]) -> Float[Array, "m s"]:
    """log(1 + sum of exp(x) over the selected rows) of each class."""
    chosen = jnp.where(select[None], x, pairs.NOTHING)
    return jax.nn.softplus(jax.nn.logsumexp(chosen, axis=1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxyAnchor(Term):
    """Each proxy pulls the batch's images of its class and pushes those of others, hardest most.

    The proxies [m, classes, d] start as those of NormSoftmax. Only their directions matter. The
    paper gives them 100 times the network's rate (`rate`).
    """

    name: str = "proxy_anchor"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    margin: Apart = 0.1  # delta of the paper
    scale: Scale = 32.0  # alpha of the paper
    subsample: Natural = 0  # classes compared with at a step, the batch's own always; 0: all

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return classes_.class_proxies(embeddings, classes)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        key = batch.known_key() if self.subsample else None
        proxies, options = parameters["proxies"], self.options()
        return proxy_anchor(
            batch.vectors, proxies, batch.labels, key=key, mask=batch.mask, **options
        )
