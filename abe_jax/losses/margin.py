"""The margin loss of Wu et al.: positives within one distance, negatives beyond another."""

import dataclasses

import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount
from abe_jax.errors import require
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.distance_weighted import NUMERICS, distance_weighted
from abe_jax.losses.term import PairTerm, Parameter, Parameters


@checked
def margin_loss(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    beta: Float[Array, "..."] | float = 1.2,
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
    learners = c.distances.shape[0]
    boundary = jnp.broadcast_to(jnp.asarray(beta, jnp.float32), (learners,))[:, None, None]
    positive, negative = (pairs.over_learners(s, learners) for s in (c.positive, c.negative))
    away = c.distances
    if negatives is not None:
        away = jnp.take_along_axis(away, negatives, axis=-1)
        negative = positive & jnp.take_along_axis(negative, negatives, axis=-1)
    inner = pairs.hinge(margin, boundary - c.distances)
    outer = pairs.hinge(margin, away - boundary)
    total = pairs.masked_sum(inner, positive) + pairs.masked_sum(outer, negative)
    number = pairs.count(positive & pairs.active(inner)) + pairs.count(
        negative & pairs.active(outer)
    )
    return jnp.sum(pairs.ratio(total, number))


SAMPLING = ("distance_weighted", "all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Margin(PairTerm):
    """Positives within beta - margin, negatives beyond beta + margin, beta [m] learned."""

    name: str = "margin"
    margin: Amount = 0.2  # alpha of the paper
    beta: Amount = 1.2  # where it starts
    learned: bool = True
    rate: Amount = 1.0  # multiplies the optimiser's rate for beta
    sampling: str = "distance_weighted"  # distance_weighted | all
    numerics: str = "row_maximum"  # row_maximum | global_maximum: see losses/distance_weighted.py
    replacement: bool = True  # an anchor's negatives are drawn independently; False: all different
    nearest: Amount = 0.5  # distances below count as this
    farthest: Amount = 1.4  # negatives from here on are not drawn

    def __post_init__(self) -> None:
        super().__post_init__()
        require("sampling", self.sampling, SAMPLING)
        require("numerics", self.numerics, NUMERICS)

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        start = initializers.constant(self.beta)
        learners = embeddings.vectors.shape[1:-1] or (1,)
        return {"beta": Parameter(start, learners)} if self.learned else {}

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        drawn = self._drawn(batch, labels) if self.sampling == "distance_weighted" else None
        beta = parameters.get("beta", self.beta)
        return margin_loss(
            batch.vectors, labels, beta, margin=self.margin, negatives=drawn, mask=batch.mask
        )

    def _drawn(self, batch: GlobalBatch, labels: Int[Array, " b"]) -> Int[Array, "m b b"]:
        return distance_weighted(
            batch.known_key(),
            batch.vectors,
            labels,
            numerics=self.numerics,
            replacement=self.replacement,
            nearest=self.nearest,
            farthest=self.farthest,
            mask=batch.mask,
        )
