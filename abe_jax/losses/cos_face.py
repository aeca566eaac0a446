"""CosFace: a softmax over cosines, of which the one to the image's own class is cut by a margin."""

import dataclasses

from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.bounds import Amount, Apart, Natural, Scale
from abe_jax.losses import classes as classes_
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.compared_classes import compared_classes
from abe_jax.losses.term import Parameter, Parameters, Term


@checked
def cos_face(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m c d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """CosFace: cross-entropy of cosines with a margin on the image's own class.

    The term of image x of class y is -log( e / (e + sum_{z != y} exp(s x.p_z)) ) with
    e = exp(s (x.p_y - m)), x and p of unit length, s the scale and m the margin. With margin 0 it
    is the normalised softmax at temperature 1 / s. The loss is the mean over images, summed over
    learners. `vectors` [b, d] with `proxies` [c, d], or [b, m, d] with [m, c, d]. Computed in
    float32, memory O(m b c + m c d).

    `subsample`, `key`: a softmax over some classes only, as in `norm_softmax`.

    With one class it is 0. Images where `mask` is False are not there, whatever their label; of the
    others a label that is not one of 0 .. c - 1 makes the loss NaN. A zero vector has cosine 0 to
    every proxy.

    CosFaceLoss of pytorch-metric-learning is the same without `subsample`.

    Raises ArgumentError where vectors and proxies are not of the same learners, and for a subsample
    without a key.
    Source: Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018
    (arXiv 1801.09414), equation 4.
    """
    c = compared_classes(vectors, proxies, labels, mask, subsample=subsample, key=key)
    cosines = c.cosines()[..., 0]
    own = classes_.at_index(cosines, c.slot) - margin
    return c.cross_entropy(scale * own, scale * cosines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosFace(Term):
    """A softmax over cosines with a margin on the cosine to the image's own class.

    The proxies [m, classes, d] start as those of NormSoftmax.
    """

    name: str = "cos_face"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    margin: Apart = 0.35  # taken off the cosine to the image's own class
    scale: Scale = 64.0  # multiplies the cosines
    subsample: Natural = 0  # classes compared with at a step, the batch's own always; 0: all

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return classes_.class_proxies(embeddings, classes)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        key = batch.known_key() if self.subsample else None
        proxies, options = parameters["proxies"], self.options()
        return cos_face(batch.vectors, proxies, batch.labels, key=key, mask=batch.mask, **options)
