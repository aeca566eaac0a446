"""The surrogate of Recall@K: how many positives stand in the first k, its steps made sigmoids."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Count, Temperature
from abe_jax.errors import ArgumentError
from abe_jax.losses import cosines, pairs, soft_ranks
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters

PUBLISHED = (1, 2, 4, 8, 16)


@checked
def recall_at_k(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    ks: Sequence[int] = PUBLISHED,
    temperatures: Sequence[float] = (),
    rank_temperature: float = 0.01,
    includes_query: bool = False,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Recall@K surrogate: 1 less the share of a query's positives in its first k, over several k.

    With s_j the cosine of row j and the query, P the query's positives, O all other rows and u the
    `rank_temperature`,

        r(j) = 1 + sum_{i in O, i != j} sigmoid((s_i - s_j) / u)
        R_k = min(k, sum_{j in P} sigmoid((k - r(j)) / t_k)) / min(k, |P|)

    and the loss is the mean of 1 - R_k over the `ks` and over all rows with a positive, each of
    which is a query. t_k are the `temperatures`, one for each k; empty: t_k = k. A positive at rank
    k counts one half, and one above it less than 1: with a single positive the loss does not come
    down to 0. Many can add up to k before all of the first k are positives, and then have no
    gradient any more.

    The query is no row of its own ranking. `includes_query` ranks it too, not as a positive, as the
    authors' public code does: at cosine 1 it comes first as a rule, and all others one later.

    `vectors` [b, d], or [b, m, d] of any length, of which the cosine is taken: then the loss is the
    sum over the m learners. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`. Time O(m b^3), memory O(m b^2): query by query, recomputed
    backwards. No positive pair gives 0 with gradient 0.

    Raises ArgumentError for no k, one below 1, and temperatures that are not above 0 or not as many
    as there are k.
    Source: Patel et al., Recall@k Surrogate Loss with Large Batches and Similarity Mixup, CVPR
    2022, arXiv 2108.11179, section 3 without the mixup; the bounds of R_k by k, the temperatures
    1, 2, 4, 8, 16 of the k 1, 2, 4, 8, 16 and u as in the authors' public code.
    pytorch-metric-learning has no such loss.
    """
    _check(ks, temperatures, rank_temperature)
    c = cosines.compared(vectors, labels, mask)
    itself = soft_ranks.queries_themselves(labels.shape[0], includes_query)
    steps = [*zip(map(float, ks), map(float, temperatures or ks), strict=True)]

    def lack(scores: Array, positive: Array, ranked: Array) -> Array:
        ranks = soft_ranks.ranks(soft_ranks.ahead(scores, rank_temperature), ranked)
        sought = pairs.over_learners(positive, scores.shape[0])
        number, recall = pairs.count(sought), jnp.zeros(scores.shape[0], jnp.float32)
        for k, temperature in steps:
            inside = pairs.masked_sum(jax.nn.sigmoid((k - ranks) / temperature), sought)
            recall = recall + pairs.ratio(jnp.minimum(inside, k), jnp.minimum(number, k))
        return 1.0 - recall / len(steps)

    ranked = c.positive | c.negative | itself
    return soft_ranks.mean_over_queries(c, c.positive, ranked, lack)


def _check(ks: Sequence[int], temperatures: Sequence[float], rank_temperature: float) -> None:
    if not ks:
        raise ArgumentError("ks", "none; give one or more, as (1, 2, 4)")
    for k in ks:
        if not k >= 1:
            raise ArgumentError("ks", f"{k} is no number of rows; at least 1")
    if temperatures and len(temperatures) != len(ks):
        raise ArgumentError(
            "temperatures", f"{len(temperatures)} for {len(ks)} ks; give one for each, or none"
        )
    for name, values in (("temperatures", temperatures), ("rank_temperature", [rank_temperature])):
        for value in values:
            if not value > 0:
                raise ArgumentError(name, f"{value:g} is not above 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecallAtK(PairTerm):
    """The share of a query's positives in its first k, for several k, smoothed."""

    name: str = "recall_at_k"
    ks: tuple[Count, ...] = PUBLISHED
    temperatures: tuple[Temperature, ...] = ()  # of the step at k, one for each; empty: k itself
    rank_temperature: Temperature = 0.01  # of the steps that make a rank
    includes_query: bool = False  # True: ranked before the others, as in the authors' public code

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.ks, self.temperatures, self.rank_temperature)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return recall_at_k(batch.vectors, labels, mask=batch.mask, **self.options())
