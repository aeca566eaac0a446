"""The contrastive pair loss: as ABE-M has it (ECCV 2018), and as Hadsell et al. (CVPR 2006)."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount
from abe_jax.errors import ArgumentError, require
from abe_jax.losses import pairs as pairs_
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


class Pairs(NamedTuple):
    """Unordered pairs of one batch: their squared distances and which of them count."""

    squared: Float[Array, "m *pairs"]
    positive: Bool[Array, "m *pairs"]
    negative: Bool[Array, "m *pairs"]


class PairValues(NamedTuple):
    """A value for every pair, for each learner, and the number of images there are."""

    values: Float[Array, "m *pairs"]
    positive: Bool[Array, "m *pairs"]
    negative: Bool[Array, "m *pairs"]
    images: Float[Array, ""]


def all_pairs(x: Float[Array, "m b d"], labels: Int[Array, " b"], here: Bool[Array, " b"]) -> Pairs:
    """Every pair i < j of images that are there."""
    valid = jnp.triu(here[:, None] & here[None, :], k=1)
    same = labels[:, None] == labels[None, :]
    squared = pairs_.squared_distances(x, here)
    return Pairs(squared, *_for_each_learner(squared, valid, same))


def adjacent_pairs(
    x: Float[Array, "m b d"], labels: Int[Array, " b"], here: Bool[Array, " b"]
) -> Pairs:
    """Rows 2i and 2i + 1, as the sampler `pairs` lays them."""
    if x.shape[1] % 2:
        raise ArgumentError(
            "pairs", f"'adjacent' needs an even batch, not {x.shape[1]} rows; or take 'all'"
        )
    squared = jnp.sum((x[:, 0::2] - x[:, 1::2]) ** 2, axis=-1)
    valid = here[0::2] & here[1::2]
    return Pairs(squared, *_for_each_learner(squared, valid, labels[0::2] == labels[1::2]))


def _for_each_learner(squared: Array, valid: Array, same: Array) -> tuple[Array, Array]:
    shape = squared.shape
    return jnp.broadcast_to((valid & same)[None], shape), jnp.broadcast_to(
        (valid & ~same)[None], shape
    )


def _sum_per_image(t: PairValues) -> Array:
    total = pairs_.masked_sum(t.values, t.positive | t.negative)
    return pairs_.ratio(2.0 * total, t.images)


def _mean(t: PairValues) -> Array:
    return pairs_.masked_mean(t.values, t.positive | t.negative)


def _mean_each(t: PairValues) -> Array:
    return pairs_.masked_mean(t.values, t.positive) + pairs_.masked_mean(t.values, t.negative)


def _mean_active(t: PairValues) -> Array:
    inside = t.negative & pairs_.active(t.values)
    return pairs_.masked_mean(t.values, t.positive) + pairs_.masked_mean(t.values, inside)


def _linear(squares: Array, positive: Array, margin: float, squared: bool) -> Array:
    """ABE-M's: the hinge itself, of the squared distance or of the distance."""
    distances = squares if squared else pairs_.distances(squares)
    return jnp.where(positive, distances, pairs_.hinge(margin, distances))


def _hadsell(squares: Array, positive: Array, margin: float, squared: bool) -> Array:
    """The square of the hinge, which is of the distance."""
    return jnp.where(positive, squares, pairs_.hinge(margin, pairs_.distances(squares)) ** 2)


FORMS = {"abe": _linear, "hadsell": _hadsell}
PAIRS = {"all": all_pairs, "adjacent": adjacent_pairs}
REDUCTIONS = {
    "sum_per_image": _sum_per_image,
    "mean": _mean,
    "mean_each": _mean_each,
    "mean_active": _mean_active,
}


def _require_squared(form: str, squared: bool) -> None:
    if form == "hadsell" and not squared:
        raise ArgumentError("squared", "False, but form 'hadsell' has squares; leave it True")


@checked
def contrastive(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    margin: float = 1.0,
    squared: bool = True,
    form: str = "abe",
    pairs: str = "all",
    reduction: str = "mean_active",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Contrastive loss: positives are drawn together, negatives pushed out of a margin.

    `form`, with D the Euclidean distance of a pair, says what a pair adds:
      abe      D^2 for a positive and [margin - D^2]_+ for a negative; with `squared=False` D and
               [margin - D]_+. The form of ABE-M: squared in notes on the paper, not in its slides
      hadsell  D^2 for a positive and [margin - D]_+^2 for a negative: Hadsell et al., and
               "Contrastive" in the field's tables since Oh Song et al. (CVPR 2016). Hadsell's
               factor 1/2 is left out, as it is there

    `vectors` [b, d], or [b, m, d]: then the loss is the sum over the m learners, each reduced on
    its own. Pairs are unordered, no image is paired with itself: `pairs="all"` takes every i < j,
    `"adjacent"` rows 2i and 2i + 1. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`.

    `reduction`, with P the positives and Q the negatives of the pair set:
      sum_per_image  2/N times the sum over P and Q, N the images that are there: the formula as
                     printed, 1/N sum_ij, whose i and j run over both orders (i = j adds 0)
      mean           sum over P and Q / (|P| + |Q|)
      mean_each      mean over P + mean over Q
      mean_active    mean over P + mean over those of Q inside the margin
    An empty selection counts 0 and has gradient 0. So has a pair at distance 0 where D itself is in
    the term: it gives no direction to part in.

    Raises ArgumentError for an unknown `form`, `pairs` or `reduction`, for "adjacent" on an odd
    batch, and for `squared=False` with "hadsell", which squares where its formula does.
    Sources: Kim et al., Attention-based Ensemble for Deep Metric Learning, ECCV 2018, L_metric; the
    paper fixes neither the pair set nor, beyond 1/N, the reduction. Hadsell, Chopra, LeCun,
    Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, equation 4.
    """
    _require_squared(form, squared)
    term = pairs_.choose(FORMS, form, "form")
    select = pairs_.choose(PAIRS, pairs, "pairs")
    reduce = pairs_.choose(REDUCTIONS, reduction, "reduction")
    here = pairs_.present(labels, mask)
    p = select(pairs_.without_absent(pairs_.per_learner(vectors), here), labels, here)
    values = term(p.squared, p.positive, margin, squared)
    images = jnp.sum(here, dtype=jnp.float32)
    loss = jnp.sum(reduce(PairValues(values, p.positive, p.negative, images)))
    return pairs_.nan_if_infinite(loss, p.squared)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive(PairTerm):
    """Positive pairs drawn together, negative ones pushed out of a margin."""

    name: str = "contrastive"
    margin: Amount = 1.0
    squared: bool = True  # of form abe: squared Euclidean distance inside the hinge
    form: str = "abe"  # abe | hadsell (the square of the hinge, [margin - D]_+^2)
    pairs: str = "all"  # all | adjacent (rows 2i and 2i+1, as the sampler `pairs` lays them)
    reduction: str = "mean_active"  # mean_active | mean | mean_each | sum_per_image

    def __post_init__(self) -> None:
        super().__post_init__()
        require("form", self.form, FORMS)
        _require_squared(self.form, self.squared)
        require("pairs", self.pairs, PAIRS)
        require("reduction", self.reduction, REDUCTIONS)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return contrastive(batch.vectors, labels, mask=batch.mask, **self.options())
