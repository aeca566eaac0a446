"""The margin loss of Wu et al.: positives within one distance, negatives beyond another."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from abe_jax.config import Margin
from abe_jax.losses import pairs
from abe_jax.losses.distance_weighted import distance_weighted
from abe_jax.losses.rows import Rows


def margin_loss(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    beta: Float[Array, " m"] | float = 1.2,
    *,
    margin: float = 0.2,
    negatives: Int[Array, "m b b"] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Margin loss: positives nearer than beta - margin, negatives farther than beta + margin.

    With D the Euclidean distance, l+ = [D(i, j) - beta + margin]_+ for a positive pair and
    l- = [beta - D(i, n) + margin]_+ for a negative one; the loss of a learner is
    sum(l+ + l-) / max(1, count(l+ > 0) + count(l- > 0)). Pairs are ordered. `vectors` [b, d], or
    [b, m, d]: then the loss is the sum over the m learners, of which each has its own entry of
    `beta`, or all share the one number. Images where `mask` is False are not there. Computed in
    float32 whatever the type of `vectors`. An empty selection counts 0 and has gradient 0.

    `negatives[p, i, j]` is the row that learner p compares anchor i of the positive pair (i, j)
    with, as `distance_weighted` draws it (entries of no positive pair, and rows that are no
    negatives of i, do not count); None takes every negative of every row.

    Sources: Wu et al., Sampling Matters in Deep Embedding Learning, ICCV 2017, arXiv 1706.07567,
    section 4, with no weight nu on beta and one beta for all classes; Berman et al., MultiGrain,
    arXiv 1902.05509. pytorch-metric-learning divides the same, but given no triplets it repeats
    each positive for each negative of its anchor; given those drawn here, it agrees.
    """
    c = pairs.compared(vectors, labels, mask)
    learners = c.apart.shape[0]
    at = jnp.broadcast_to(jnp.asarray(beta, jnp.float32), (learners,))[:, None, None]
    positive, negative = (pairs.over_learners(s, learners) for s in (c.positive, c.negative))
    away = c.apart
    if negatives is not None:
        away = jnp.take_along_axis(away, negatives, axis=-1)
        negative = positive & jnp.take_along_axis(negative, negatives, axis=-1)
    inner = pairs.hinge(margin, at - c.apart)
    outer = pairs.hinge(margin, away - at)
    total = pairs.masked_sum(inner, positive) + pairs.masked_sum(outer, negative)
    number = pairs.count(positive & pairs.active(inner)) + pairs.count(
        negative & pairs.active(outer)
    )
    return jnp.sum(pairs.ratio(total, number))


def _all(term: Margin, rows: Rows) -> None:
    return None


def _distance_weighted(term: Margin, rows: Rows) -> Array:
    return distance_weighted(
        rows.random(),
        rows.embeddings.vectors,
        rows.identities(term.label),
        numerics=term.numerics,
        replacement=term.replacement,
        nearest=term.nearest,
        farthest=term.farthest,
        mask=rows.mask,
    )


SAMPLING = {"all": _all, "distance_weighted": _distance_weighted}


class LearnedMargin(nn.Module):
    """A config's margin loss, its parameter `beta` [m] among the variables if it is learned."""

    term: Margin

    @nn.compact
    def __call__(self, rows: Rows) -> Float[Array, ""]:
        vectors = rows.embeddings.vectors
        negatives = pairs.choose(SAMPLING, self.term.sampling, "sampling")(self.term, rows)
        beta = jnp.full(vectors.shape[1:-1] or (1,), self.term.beta, jnp.float32)
        if self.term.learned:
            start = beta
            beta = self.param("beta", lambda _: start)
        return margin_loss(
            vectors,
            rows.identities(self.term.label),
            beta,
            margin=self.term.margin,
            negatives=negatives,
            mask=rows.mask,
        )
