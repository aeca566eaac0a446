"""The divergence loss of ABE-M: learners must not see one image alike."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from abe_jax.bounds import Amount
from abe_jax.errors import ArgumentError, require
from abe_jax.losses import pairs as pairs_
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import Parameters, Term


class LearnerPairValues(NamedTuple):
    """[margin - D^2]_+ for each image and each pair of learners p < q, and which images count."""

    values: Float[Array, "1 b p"]
    select: Bool[Array, "1 b p"]
    images: Float[Array, ""]


def _sum(t: LearnerPairValues) -> Array:
    return pairs_.masked_sum(t.values, t.select)


def _mean_image(t: LearnerPairValues) -> Array:
    return pairs_.ratio(pairs_.masked_sum(t.values, t.select), t.images)


def _mean(t: LearnerPairValues) -> Array:
    return pairs_.masked_mean(t.values, t.select)


def _mean_active(t: LearnerPairValues) -> Array:
    return pairs_.masked_mean(t.values, t.select & pairs_.active(t.values))


REDUCTIONS = {
    "sum": _sum,
    "mean_image": _mean_image,
    "mean": _mean,
    "mean_active": _mean_active,
}


def learner_pairs(
    x: Float[Array, "m b d"],
) -> tuple[Float[Array, "pairs b d"], Float[Array, "pairs b d"]]:
    """Both sides of every pair of learners p < q."""
    p, q = np.triu_indices(x.shape[0], k=1)
    return x[p], x[q]


@checked
def divergence(
    vectors: Float[Array, "b *m d"],
    *,
    margin: float = 1.0,
    squared: bool = True,
    reduction: str = "mean",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Divergence loss: pushes the vectors that different learners give one image out of a margin.

    A term is [margin - D(f_p(x_i), f_q(x_i))^2]_+ for image i and learners p < q, D the Euclidean
    distance; with `squared=False` it is [margin - D]_+. `vectors` [b, m, d]; images where `mask` is
    False are not there; one learner gives 0. Computed in float32 whatever the type of `vectors`,
    from differences and not from products, since it works where vectors nearly coincide.

    `reduction`, over N images and m (m - 1) / 2 pairs of learners:
      sum          over images and pairs; the formula as printed if its p, q are unordered, half of
                   it if they are ordered. Grows with N: 1792 at collapse for N = 64, m = 8
      mean_image   sum over pairs, mean over images
      mean         mean over images and pairs, in [0, margin]
      mean_active  mean over the terms that are not 0
    An empty selection gives 0 with gradient 0. Learners that coincide exactly give no direction to
    part in: the gradient there is 0, squared or not.

    Raises ArgumentError for an unknown `reduction` or vectors that are not [b, m, d].
    Source: Kim et al., Attention-based Ensemble for Deep Metric Learning, ECCV 2018, L_div; the
    paper's normaliser is not known.
    """
    reduce = pairs_.choose(REDUCTIONS, reduction, "reduction")
    if vectors.ndim != 3:
        raise ArgumentError("vectors", f"expected shape [b, m, d], not {list(vectors.shape)}")
    here = jnp.ones(vectors.shape[0], bool) if mask is None else mask
    left, right = learner_pairs(pairs_.without_absent(pairs_.per_learner(vectors), here))
    squares = jnp.sum((left - right) ** 2, axis=-1)
    distances = squares if squared else pairs_.distances(squares)
    values = pairs_.hinge(margin, distances)
    select = jnp.broadcast_to(here[None], values.shape)
    images = jnp.sum(here, dtype=jnp.float32)
    loss = reduce(LearnerPairValues(values[None], select[None], images))[0]
    return pairs_.nan_if_infinite(loss, squares)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divergence(Term):
    """The vectors that different learners give one image, pushed out of a margin."""

    name: str = "divergence"
    margin: Amount = 1.0
    squared: bool = True
    reduction: str = "mean"  # mean | mean_active | mean_image | sum

    def __post_init__(self) -> None:
        super().__post_init__()
        require("reduction", self.reduction, REDUCTIONS)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        return divergence(batch.vectors, mask=batch.mask, **self.options())
