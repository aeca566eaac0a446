"""HDC's loss: each head learns from the hardest share of a batch's pairs, later heads from less."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from abe_jax.bounds import Amount, Share
from abe_jax.errors import ArgumentError
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import PairTerm, Parameters

PUBLISHED = (1.0, 0.5, 0.2)
ZERO = 1e-6  # a loss up to this counts as zero: what rounding leaves of a distance of 0
GRID = 2.0**-16  # squared distances are ranked in multiples of this, as equal where rounding would
WHOLE = 1e-6  # of a share of pairs: so near to a whole number (times itself) it is that number


class Ranked(NamedTuple):
    """Pairs of one kind, flat, and which of them the head before kept."""

    values: Float[Array, "m p"]  # the losses
    hardness: Float[Array, "m p"]  # ranks as the losses do, and those of them that are zero
    select: Bool[Array, " p"]  # what is a pair of this kind


@checked
def hard_share(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    shares: Sequence[float] = (),
    negative_weight: float = 10.0,
    margin: float = 1.0,
    cascade: bool = False,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The mean loss of the hardest share of the positive and of the negative pairs, by head.

    Pairs are unordered. A positive's loss is D^2, a negative's `negative_weight` [margin - D^2]_+,
    D the Euclidean distance (of unit vectors, as HDC has it). Head k ranks all positives of the
    batch by their loss, and apart from them all negatives, and keeps of each kind's n pairs the
    hardest ceil(h_k n), so at least one of any. Its loss is the sum of what both kinds keep over
    the number of these that are not zero (above 1e-6); the whole loss is the sum over heads.
    `shares` are the h, one for each learner; empty: 1, 0.5, 0.2, and 0.2 for those beyond three.

    With `cascade` head k ranks, by its own losses, what head k - 1 kept and nothing else, as the
    paper's text has it; h_k is of all n pairs all the same, and no more are kept than are left.
    Without, each head ranks the whole batch, as the authors' public code does.

    Equal losses: the pair at the smaller distance comes first among negatives, of which those
    beyond the margin all have loss 0; of equal distances (to 2^-16 of D^2, so that rounding does
    not choose) the earlier pair, by its first and then by its second row. How many are kept, and
    ties, are not in the paper. `vectors` [b, d], or
    [b, m, d]. Images where `mask` is False are not there. Computed in float32 whatever the type of
    `vectors`, memory O(m b^2). What is kept is chosen without gradient; no pairs give 0 with
    gradient 0.

    Raises ArgumentError for another number of shares than learners, or one outside of [0, 1].
    Source: Yuan et al., Hard-Aware Deeply Cascaded Embedding, ICCV 2017, arXiv 1611.05720,
    section 3.
    """
    c = pairs.compared(vectors, labels, mask, squared=True)
    learners = c.distances.shape[0]
    own = _shares(shares, learners)
    squared = c.distances.reshape(learners, -1)
    ranked = jnp.round(squared / GRID)
    away = negative_weight * pairs.hinge(margin, squared)
    kinds = (
        Ranked(squared, ranked, jnp.triu(c.positive).reshape(-1)),
        Ranked(away, -ranked, jnp.triu(c.negative).reshape(-1)),
    )
    total, number = jnp.zeros(learners), jnp.zeros(learners)
    for kind in kinds:
        kept = _kept(kind, own, cascade)
        total = total + pairs.masked_sum(kind.values, kept)
        number = number + pairs.count(kept & ~(kind.values <= ZERO))  # NaN counts
    return jnp.sum(pairs.ratio(total, number))


def _shares(given: Sequence[float], learners: int) -> tuple[float, ...]:
    if not given:
        return tuple(PUBLISHED[min(k, len(PUBLISHED) - 1)] for k in range(learners))
    _check(given)
    if len(given) != learners:
        raise ArgumentError(
            "shares", f"{len(given)} for {learners} learners; give one for each, or none"
        )
    return tuple(given)


def _check(shares: Sequence[float]) -> None:
    wrong = [share for share in shares if not 0.0 <= share <= 1.0]
    if wrong:
        raise ArgumentError("shares", f"{wrong[0]:g} is not between 0 and 1")


def _kept(kind: Ranked, shares: tuple[float, ...], cascade: bool) -> Bool[Array, "m p"]:
    """Which pairs each head keeps."""
    hardness = lax.stop_gradient(kind.hardness)
    hardness = jnp.where(jnp.isnan(hardness), jnp.inf, hardness)  # first of all, never hidden
    n, left, kept = pairs.count(kind.select[None])[0], kind.select, []
    for own, share in zip(hardness, shares, strict=True):
        order = jnp.argsort(jnp.where(left, -own, jnp.inf), stable=True)
        rank = jnp.zeros(len(order), n.dtype).at[order].set(jnp.arange(len(order), dtype=n.dtype))
        kept.append(left & (rank < _number(share, n)))
        left = kept[-1] if cascade else kind.select
    return jnp.stack(kept)


def _number(share: float, n: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """ceil(share n), whatever float32 makes of a product that is a whole number."""
    return n if share == 1.0 else jnp.ceil(share * (1.0 - WHOLE) * n)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardShare(PairTerm):
    """Of the positive and of the negative pairs the hardest share, one for each head."""

    name: str = "hard_share"
    shares: tuple[Share, ...] = ()  # one for each learner; empty: 1, 0.5, 0.2, 0.2, ...
    negative_weight: Amount = 10.0
    margin: Amount = 1.0  # of the squared distance
    cascade: bool = False  # True: a head draws from what the head before it kept

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.shares)

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        labels = batch.identities(self.label)
        return hard_share(batch.vectors, labels, mask=batch.mask, **self.options())
