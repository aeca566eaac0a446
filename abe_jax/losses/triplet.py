"""Triplet losses: an anchor nearer to its positive than to its negative."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount
from abe_jax.errors import require
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import READS, GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters

Violation = Callable[[Array, Array], Array]  # of d(a, p) and d(a, n)


class TripletSums(NamedTuple):
    """Over a set of triplets, for each learner."""

    total: Float[Array, "*a m"]
    number: Float[Array, "*a m"]
    active: Float[Array, "*a m"]  # how many are not 0


def _sums(values: Float[Array, "m *t"], select: Bool[Array, "*t"]) -> TripletSums:
    chosen = pairs.over_learners(select, values.shape[0])
    inside = pairs.count(chosen & pairs.active(values))
    return TripletSums(pairs.masked_sum(values, chosen), pairs.count(chosen), inside)


def _all(c: pairs.Compared, violation: Violation) -> TripletSums:
    """Every triplet, one anchor at a time: b x b values are alive, forwards and backwards."""

    @jax.checkpoint
    def of_anchor(row: tuple[Array, Array, Array]) -> TripletSums:
        distances, positive, negative = row
        values = violation(distances[:, :, None], distances[:, None, :])
        return _sums(values, positive[:, None] & negative[None, :])

    each = lax.map(of_anchor, (jnp.swapaxes(c.distances, 0, 1), c.positive, c.negative))
    return TripletSums(*(jnp.sum(part, axis=0) for part in each))


def _semi_hard(c: pairs.Compared, violation: Violation) -> TripletSums:
    """One negative for each positive pair."""
    chosen = _nearest_beyond(lax.stop_gradient(c.distances), c.negative)
    values = violation(c.distances, jnp.take_along_axis(c.distances, chosen, axis=-1))
    return _sums(values, c.positive & jnp.any(c.negative, axis=1)[:, None])


def _nearest_beyond(
    distances: Float[Array, "m b b"], negative: Bool[Array, "b b"]
) -> Int[Array, "m b b"]:
    """For each anchor i and row j the nearest negative beyond j; the farthest if none is."""

    def of_anchor(row: tuple[Array, Array]) -> Array:
        distances, negative = row
        beyond = negative[None, None] & (distances[:, None, :] > distances[:, :, None])
        nearest = jnp.argmin(jnp.where(beyond, distances[:, None, :], jnp.inf), axis=-1)
        farthest = jnp.argmax(jnp.where(negative[None], distances, -jnp.inf), axis=-1)
        return jnp.where(jnp.any(beyond, axis=-1), nearest, farthest[:, None])

    return jnp.swapaxes(lax.map(of_anchor, (jnp.swapaxes(distances, 0, 1), negative)), 0, 1)


def _batch_hard(c: pairs.Compared, violation: Violation) -> TripletSums:
    """The farthest positive and the nearest negative of each anchor that has both."""
    fixed = lax.stop_gradient(c.distances)
    positive = jnp.argmax(jnp.where(c.positive[None], fixed, -jnp.inf), axis=-1)
    negative = jnp.argmin(jnp.where(c.negative[None], fixed, jnp.inf), axis=-1)
    ends = (
        jnp.take_along_axis(c.distances, end[..., None], axis=-1) for end in (positive, negative)
    )
    select = jnp.any(c.positive, axis=1) & jnp.any(c.negative, axis=1)
    return _sums(violation(*ends), select[:, None])


MINING = {"all": _all, "semi_hard": _semi_hard, "batch_hard": _batch_hard}
REDUCTIONS = {
    "mean_active": lambda sums: pairs.ratio(sums.total, sums.active),
    "mean": lambda sums: pairs.ratio(sums.total, sums.number),
}


@checked
def triplet(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    mining: str = "all",
    margin: float = 0.2,
    soft: bool = False,
    squared: bool = False,
    reduction: str = "mean_active",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Triplet loss: an anchor lies nearer to its positive than to its negative, by a margin.

    A term is [D(a, p) - D(a, n) + margin]_+, D the Euclidean distance or, `squared`, its square;
    with `soft` it is log(1 + exp(D(a, p) - D(a, n))) and the margin is not used. a, p have one
    label, a and n two; a and p are different rows and both orders of them count. `vectors` [b, d],
    or [b, m, d]: then the loss is the sum over the m learners, each mined and reduced on its own.
    Images where `mask` is False are not there. Computed in float32 whatever the type of `vectors`.

    `mining`, which triplets there are:
      all         every one. Time O(b^3), memory O(b^2): anchor by anchor, recomputed backwards
      semi_hard   for each (a, p) the nearest n with D(a, n) > D(a, p); if no negative lies beyond
                  p, the farthest one, so that no positive pair is without a triplet
      batch_hard  for each anchor its farthest p and nearest n
    What mining chooses has no gradient of its own. `reduction`: `mean_active` is the mean over
    terms that are not 0, `mean` over all triplets mined; the same where `soft`. Without triplets
    the loss is 0 with gradient 0.

    Raises ArgumentError for an unknown `mining` or `reduction`.
    Sources: Schroff et al., FaceNet, CVPR 2015, arXiv 1503.03832, section 3 (semi-hard; the
    farthest as the way out is TensorFlow's triplet_semihard_loss); Hermans et al., In Defense of
    the Triplet Loss, arXiv 1703.07737, eq. 5 (batch-hard) and the soft margin. "all" and
    "batch_hard" are pytorch-metric-learning's, whose miner of `semihard` triplets is another: it
    takes every n with D(a, p) < D(a, n) <= D(a, p) + margin.
    """
    mine = pairs.choose(MINING, mining, "mining")
    reduce = pairs.choose(REDUCTIONS, reduction, "reduction")

    def violation(positive: Array, negative: Array) -> Array:
        if soft:
            return jax.nn.softplus(positive - negative)
        return pairs.hinge(margin, negative - positive)

    return jnp.sum(reduce(mine(pairs.compared(vectors, labels, mask, squared), violation)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Triplet(PairTerm):
    """An anchor nearer to its positive than to its negative, by a margin."""

    name: str = "triplet"
    mining: str = "all"  # all | semi_hard | batch_hard
    margin: Amount = 0.2
    soft: bool = False  # softplus of the difference in place of the hinge; the margin is not used
    squared: bool = False
    reduction: str = "mean_active"  # mean_active | mean
    # vectors | before_neck (as it is, of any length) | unit_before_neck: of a model with a neck
    reads: str = "vectors"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("mining", self.mining, MINING)
        require("reduction", self.reduction, REDUCTIONS)
        require("reads", self.reads, READS)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return triplet(batch.read(self.reads), labels, mask=batch.mask, **self.options())
