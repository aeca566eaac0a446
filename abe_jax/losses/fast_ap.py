"""FastAP: the average precision of each row's ranking, from histograms of its distances."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Bins
from abe_jax.errors import ArgumentError
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters

FARTHEST = 4.0  # the squared distance of opposite unit vectors


def histograms(
    squared: Float[Array, "m b b"], selects: tuple[Bool[Array, "b b"], ...], bins: int
) -> tuple[Float[Array, "l m b"], ...]:
    """How many of each row's distances lie at each of `bins` + 1 centres, of what is selected.

    The centres are evenly spaced from 0 to FARTHEST. A distance between two of them counts for
    both, the more the nearer. At a centre its slope is the mean of those on its two sides, so
    that what one centre loses others gain there too. Centre by centre, recomputed backwards: b x b
    values are alive.
    """
    in_bins = squared * (bins / FARTHEST)  # of which a centre is a whole number exactly

    @jax.checkpoint
    def at(centre: Array) -> tuple[Array, ...]:
        away = in_bins - centre
        away = jnp.sign(away) * away  # with slope 0 at 0, where that of jnp.abs is 1
        share = jnp.maximum(1.0 - away, 0.0)
        return tuple(jnp.sum(jnp.where(s[None], share, 0.0), axis=-1) for s in selects)

    return lax.map(at, jnp.arange(bins + 1, dtype=jnp.float32))


@checked
def fast_ap(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    bins: int = 10,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """FastAP: 1 less the average precision by which a row ranks the others, by bins of distance.

    Of a query's squared Euclidean distances to the other rows, between unit vectors and so from 0
    to 4, two histograms are made with `bins` + 1 centres in equal steps: h+ of its positives, h of
    all. A distance between two centres is shared between them linearly. With H+ and H the sums up
    to a centre,

        AP = 1/|P| sum_l h+_l H+_l / H_l

    (0 where H_l is), and the loss is the mean of 1 - AP over all rows with a positive, each of
    which is a query. The query is no row of its own ranking.

    `vectors` [b, d], or [b, m, d] of any length, which are brought to length one here: then the
    loss is the sum over the m learners. A zero vector stays, at distance 1 of all of
    length one. Images where `mask` is False are not there. Computed in float32 whatever the type of
    `vectors`. Time O(bins m b^2), memory O(m b^2 + bins m b). No positive pair gives 0 with
    gradient 0.

    Raises ArgumentError for a number of bins below 1.
    Source: Cakir et al., Deep Metric Learning to Rank, CVPR 2019, section 3. Equal to
    pytorch-metric-learning's, but for the gradient of a distance at a centre.
    """
    if not bins >= 1:
        raise ArgumentError("bins", f"{bins} is not at least 1")
    here = pairs.present(labels, mask)
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    squared = pairs.squared_distances(x, here)
    positive, negative = pairs.relations(labels, here)
    own, others = histograms(squared, (positive, negative), bins)
    found = jnp.cumsum(own, axis=0)
    ranked = found + jnp.cumsum(others, axis=0)
    empty = ranked <= 0.0  # False for NaN, which therefore goes through the ratio
    # Where nothing is ranked yet, what comes there first as a positive comes with precision 1.
    precisions = jnp.where(empty, 1.0, found / jnp.where(empty, 1.0, ranked))
    number = jnp.sum(positive, axis=1, dtype=jnp.float32)[None]
    precision = pairs.ratio(jnp.sum(own * precisions, axis=0), number)
    queries = pairs.over_learners(jnp.any(positive, axis=1), x.shape[0])
    return jnp.sum(pairs.masked_mean(1.0 - precision, queries))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastAP(PairTerm):
    """The average precision of each row's ranking of the batch, from histograms of distances."""

    name: str = "fast_ap"
    bins: Bins = 10

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return fast_ap(batch.vectors, labels, mask=batch.mask, **self.options())
