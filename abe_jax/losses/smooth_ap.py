"""Smooth-AP: the average precision of each row's ranking, its steps made sigmoids."""

import dataclasses

from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Temperature
from abe_jax.losses import cosines, pairs, soft_ranks
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters


@checked
def smooth_ap(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    temperature: float = 0.01,
    includes_query: bool = False,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Smooth-AP: 1 less the average precision by which a row ranks the others of the batch.

    With s_j the cosine of row j and the query, P the query's positives and O all other rows,

        AP = mean_{j in P} r(j, P) / r(j, O),
        r(j, S) = 1 + sum_{k in S, k != j} sigmoid((s_k - s_j) / temperature)

    and the loss is the mean of 1 - AP over all rows with a positive, each of which is a query. The
    lower the temperature, the nearer it is to the true AP, and the fewer pairs have a gradient.

    The query is no row of its own ranking. `includes_query` puts it there, and among its positives,
    as the authors' public code does: at cosine 1 it comes first as a rule.

    `vectors` [b, d], or [b, m, d] of any length, of which the cosine is taken: then the loss is the
    sum over the m learners. Images where `mask` is False are not there. Computed in float32
    whatever the type of `vectors`. Time O(m b^3), memory O(m b^2): query by query, recomputed
    backwards. No positive pair gives 0 with gradient 0.

    Source: Brown et al., Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval, ECCV
    2020, arXiv 2007.12163, eq. 4 to 7. Equal, with `includes_query`, to pytorch-metric-learning's,
    which needs as many classes in a batch as it has rows of each, class behind class.
    """
    c = cosines.compared(vectors, labels, mask)
    itself = soft_ranks.queries_themselves(labels.shape[0], includes_query)

    def lack(scores: Array, positive: Array, ranked: Array) -> Array:
        before = soft_ranks.ahead(scores, temperature)
        precision = soft_ranks.ranks(before, positive) / soft_ranks.ranks(before, ranked)
        return 1.0 - pairs.masked_mean(precision, pairs.over_learners(positive, scores.shape[0]))

    positive = c.positive | itself
    return soft_ranks.mean_over_queries(c, positive, positive | c.negative, lack)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmoothAP(PairTerm):
    """The average precision of each row's ranking of the batch, smoothed."""

    name: str = "smooth_ap"
    temperature: Temperature = 0.01  # of the sigmoid in place of a step
    includes_query: bool = False  # True: a query finds itself, as in the authors' public code

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return smooth_ap(batch.vectors, labels, mask=batch.mask, **self.options())
