"""Cross-entropy of a linear classifier, with label smoothing."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount, Share
from abe_jax.errors import require
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.term import Parameter, Parameters, Term

SMOOTHED = ("all", "others")
KERNEL = initializers.lecun_normal(batch_axis=(0,))


@checked
def cross_entropy(
    unnormalised: Float[Array, "b *m d"],
    kernel: Float[Array, "*m d c"],
    bias: Float[Array, "*m c"] | None,
    labels: Int[Array, " b"],
    *,
    smoothing: float = 0.0,
    smoothed: str = "all",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Cross-entropy of softmax(x W + b) against the class, with label smoothing.

    The term of image x of class y is -sum_z t_z log softmax(x W + b)_z, where the target t is
    1 - smoothing at y plus smoothing / c at each of the c classes, y too; with `smoothed` "others"
    it is 1 - smoothing at y and smoothing / (c - 1) at each other class. The loss is the mean
    over images, summed over learners. `unnormalised` [b, d] with `kernel` [d, c] and `bias` [c], or
    [b, m, d] with [m, d, c] and [m, c]; a `bias` of None is none. Computed in float32, memory
    O(m b c).

    With one class it is 0. Images where `mask` is False are not there, whatever their label; of the
    others a label that is not one of 0 .. c - 1 makes the loss NaN.

    Raises ArgumentError where vectors and parameters are not of the same learners.
    Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7; smoothing 0
    is the classifier of MultiGrain (Berman et al. 2019, arXiv 1902.05509); "others" is how
    MetaBIN's public code smooths (Choi et al., CVPR 2021).
    """
    require("smoothed", smoothed, SMOOTHED)
    here = pairs.present(labels, mask)
    w = classes_.for_learners(kernel, unnormalised, 2)
    x = pairs.without_absent(pairs.per_learner(unnormalised), here)
    logits = jnp.einsum("mbd,mdc->mbc", x, w, precision=lax.Precision.HIGHEST)
    if bias is not None:
        logits = logits + classes_.for_learners(bias, unnormalised, 1)[:, None, :]
    valid = classes_.among(labels, logits.shape[-1])
    if smoothed == "others":  # of all the same share, and the rest of it taken from y again
        smoothing = smoothing * logits.shape[-1] / max(logits.shape[-1] - 1, 1)
    target = (1.0 - smoothing) * classes_.own(logits, labels, valid)
    target = target + smoothing * jnp.mean(logits, axis=-1)
    return classes_.mean_of_rows(jax.nn.logsumexp(logits, axis=-1) - target, here)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy(Term):
    """A linear classifier on the embedding before L2, one for each learner.

    Its `kernel` [m, d, classes] starts LeCun-normal, its `bias` [m, classes] at zero. Behind a
    neck (`model.neck`) Luo et al., arXiv 1903.07071, have none: `bias=False`.
    """

    name: str = "cross_entropy"
    rate: Amount = 1.0  # multiplies the optimiser's rate for the classifier
    smoothing: Share = 0.0  # of the target, spread evenly over the classes
    smoothed: str = "all"  # over which: all (the image's own too) | others
    bias: bool = True  # False: x W alone

    def __post_init__(self) -> None:
        super().__post_init__()
        require("smoothed", self.smoothed, SMOOTHED)

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        _, learners, size = embeddings.unnormalised.shape
        count = classes_.known(classes)
        kernel = {"kernel": Parameter(KERNEL, (learners, size, count))}
        bias = {"bias": Parameter(initializers.zeros, (learners, count))}
        return kernel | bias if self.bias else kernel

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        x, kernel = batch.unnormalised, parameters["kernel"]
        bias = parameters["bias"] if self.bias else None
        return cross_entropy(
            x,
            kernel,
            bias,
            batch.labels,
            smoothing=self.smoothing,
            smoothed=self.smoothed,
            mask=batch.mask,
        )
