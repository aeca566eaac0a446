"""ArcFace: a softmax over cosines, the angle to the image's own class widened by a margin."""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.bounds import RIGHT_ANGLE, Amount, Angle, Centres, Natural, Scale
from abe_jax.errors import ArgumentError
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.compared_classes import compared_classes
from abe_jax.losses.term import Parameter, Parameters, Term


@checked
def arc_face(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m n d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 0.5,
    scale: float = 64.0,
    centres: int = 1,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """ArcFace: cross-entropy of cosines with a margin on the angle to the image's own class.

    The term of image x of class y is -log( e / (e + sum_{z != y} exp(s cos a_z)) ) with
    e = exp(s cos(a_y + m)), a_z the angle of x and class z's proxy, s the scale and m the margin in
    radians, 0 to pi / 2. With `centres` = k > 1 each class has k proxies and a_z is the angle to
    the nearest (sub-centre ArcFace). With margin 0 and one centre it is the normalised softmax at
    temperature 1 / s. The loss is the mean over images, summed over learners. `vectors` [b, d] with
    `proxies` [c k, d], or [b, m, d] with [m, c k, d]; those of class z are the rows z k ..
    z k + k - 1. Computed in float32, memory O(m b c k + m (b + c) k d).

    Beyond a_y = pi - m, where cos(a_y + m) would rise again and push x away from its class,
    cos a_y - m sin m stands in its place: it goes on falling, after a step down by
    cos m + m sin m - 1. The paper says that training hardly gets there and leaves it open; its
    public code does this where it is not asked for an "easy margin" (cos a_y itself, from a right
    angle on), and pytorch-metric-learning does this always.

    No arc cosine is taken: cos(a + m) = cos a cos m - sin a sin m, where sin a is computed as
    |x - p| |x + p| / 2. It has all its digits near 0 and pi, where 1 - cos^2 has none left, and a
    gradient no longer than 2; at 0 itself, where the loss has a corner, it counts 0.

    `subsample`, `key`: a softmax over some classes only, as in `norm_softmax`.

    With one class it is 0. Images where `mask` is False are not there, whatever their label; of the
    others a label that is not one of 0 .. c - 1 makes the loss NaN. A zero vector is at a right
    angle to every proxy.

    ArcFaceLoss and SubCenterArcFaceLoss of pytorch-metric-learning are the same without
    `subsample`; their margin is in degrees.

    Raises ArgumentError for a margin beyond a right angle, where vectors and proxies are not of the
    same learners, where the proxies are not `centres` for each class, and for a subsample without a
    key.
    Sources: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019
    (arXiv 1801.07698), equation 3; Deng et al., Sub-center ArcFace, ECCV 2020, section 3.
    """
    if not 0 <= margin <= RIGHT_ANGLE:
        raise ArgumentError(
            "margin", f"{margin:g} is not between 0 and {RIGHT_ANGLE}; it is in radians"
        )
    c = compared_classes(
        vectors, proxies, labels, mask, centres=centres, subsample=subsample, key=key
    )
    x, own = c.vectors[:, :, None], c.own_proxies()
    # What is below falls with the angle, so that the greatest is the nearest centre's.
    with_margin = _with_margin(jnp.sum(x * own, axis=-1), _sines(x, own), margin)
    cosines = jnp.max(c.cosines(), axis=-1)
    return c.cross_entropy(scale * jnp.max(with_margin, axis=-1), scale * cosines)


def _with_margin(
    cosines: Float[Array, "m b k"], sines: Float[Array, "m b k"], margin: float
) -> Float[Array, "m b k"]:
    """cos(a + margin), or its continuation where a + margin is more than pi."""
    turned = math.cos(margin) * cosines - math.sin(margin) * sines
    beyond = cosines - margin * math.sin(margin)
    return jnp.where(cosines >= -math.cos(margin), turned, beyond)


def _sines(x: Float[Array, "m b 1 d"], y: Float[Array, "m b k d"]) -> Float[Array, "m b k"]:
    """Of the angles of vectors of length 1; 1 where one of the two is zero."""
    difference = pairs.distances(jnp.sum(jnp.square(x - y), axis=-1))
    total = pairs.distances(jnp.sum(jnp.square(x + y), axis=-1))
    lengths = jnp.sum(jnp.square(x), axis=-1) * jnp.sum(jnp.square(y), axis=-1)
    return jnp.where(lengths < 0.5, 1.0, 0.5 * difference * total)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArcFace(Term):
    """A softmax over cosines with a margin on the angle to the image's own class.

    The proxies [m, classes * centres, d] start as those of NormSoftmax.
    """

    name: str = "arc_face"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    margin: Angle = 0.5  # added to the angle to the image's own class, in radians
    scale: Scale = 64.0  # multiplies the cosines
    centres: Centres = 1  # proxies of each class, of which the nearest counts
    subsample: Natural = 0  # classes compared with at a step, the batch's own always; 0: all

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return classes_.class_proxies(embeddings, self.centres * classes)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        key = batch.known_key() if self.subsample else None
        proxies, options = parameters["proxies"], self.options()
        return arc_face(batch.vectors, proxies, batch.labels, key=key, mask=batch.mask, **options)
