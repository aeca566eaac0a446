"""Normalised softmax: cross-entropy over cosines to one proxy for each class."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.bounds import Amount, Natural, Temperature
from abe_jax.losses import classes as classes_
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.compared_classes import compared_classes
from abe_jax.losses.term import Parameter, Parameters, Term


@checked
def norm_softmax(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m c d"],
    labels: Int[Array, " b"],
    *,
    temperature: float = 0.05,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Normalised softmax: cross-entropy over an image's cosines to the proxies.

    The term of image x of class y is -log( exp(x.p_y / t) / sum_z exp(x.p_z / t) ), x and p of unit
    length, t the temperature; no bias, no margin. The loss is the mean over images, summed over
    learners. `vectors` [b, d] with `proxies` [c, d], or [b, m, d] with [m, c, d]. Computed in
    float32, memory O(m b c).

    `subsample` = s > 0 lets z run over s classes only: the batch's own and others drawn evenly by
    `key`, the same for all learners; nothing makes up for those left out. A batch of more than s
    classes is compared with all its own. Only those proxies are gathered, memory O(m s' (d + b))
    with s' = max(s, b), besides O(c) numbers for the draw; the gradient of all others is exactly 0.
    From s = c on it is the full softmax.

    With one class it is 0. Images where `mask` is False are not there, whatever their label; of the
    others a label that is not one of 0 .. c - 1 makes the loss NaN.

    NormalizedSoftmaxLoss of pytorch-metric-learning is the same without `subsample`.

    Raises ArgumentError where vectors and proxies are not of the same learners, and for a subsample
    without a key.
    Source: Zhai and Wu, Classification is a Strong Baseline for Deep Metric Learning, BMVC 2019
    (arXiv 1811.12649), the normalised softmax and its class subsampling; the paper says of the
    latter that a subset is drawn, and how is our reading.
    """
    c = compared_classes(vectors, proxies, labels, mask, subsample=subsample, key=key)
    logits = c.cosines()[..., 0] / temperature
    total = jax.nn.logsumexp(jnp.where(c.counts[None, None], logits, -jnp.inf), axis=-1)
    return classes_.mean_of_rows(total - classes_.own(logits, c.slot, c.valid), c.here)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormSoftmax(Term):
    """Cross-entropy over cosines with one proxy for each class.

    The proxies [m, classes, d] start from U(-1 / sqrt(d), 1 / sqrt(d)).
    """

    name: str = "norm_softmax"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    temperature: Temperature = 0.05
    subsample: Natural = 0  # classes compared with at a step, the batch's own always; 0: all

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return classes_.class_proxies(embeddings, classes)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        key = batch.known_key() if self.subsample else None
        proxies, options = parameters["proxies"], self.options()
        return norm_softmax(
            batch.vectors, proxies, batch.labels, key=key, mask=batch.mask, **options
        )
