"""Distance-weighted sampling of negatives: as if their distances were spread evenly.

Its `numerics` are two algorithms in many dimensions. docs/NUMERICS.md measures both and says why
`row_maximum` is the default.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked

# 1 - d^2 / 4 is 0 between opposite vectors, where the log weight would be infinite.
SMALLEST = 1e-8
OWN = 1.0  # the distance of a row to itself in MultiGrain's public code
# exp of less is 0 in float32, log(2^-150). Compared and not computed: some processors and compilers
# take numbers below 2^-126 for 0 as well.
LEAST_LOG = -103.97


def log_weights(
    distances: Float[Array, "*shape"], size: int, nearest: float = 0.5
) -> Float[Array, "*shape"]:
    """log w(d) = (2 - size) log d - (size - 3) / 2 log(1 - d^2 / 4), d at least `nearest`.

    w is, but for a factor, 1 over the density of the distance d between points spread evenly over
    the unit sphere in `size` dimensions.
    """
    d = jnp.maximum(distances, nearest)
    cap = jnp.maximum(1.0 - 0.25 * d * d, SMALLEST)
    return (2.0 - size) * jnp.log(d) - 0.5 * (size - 3.0) * jnp.log(cap)


def _row_maximum(logs: Array, near: Array, both: Array) -> Array:
    return jnp.where(near, logs, -jnp.inf)


def _global_maximum(logs: Array, near: Array, both: Array) -> Array:
    top = jnp.max(jnp.where(both, logs, -jnp.inf), axis=(-2, -1), keepdims=True)
    return jnp.where(near & (logs - top > LEAST_LOG), logs - top, -jnp.inf)


NUMERICS = {"row_maximum": _row_maximum, "global_maximum": _global_maximum}


def logits(
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    numerics: str = "row_maximum",
    nearest: float = 0.5,
    farthest: float = 1.4,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, "m b b"]:
    """Log probabilities, but for a constant in each row, by which the row's negatives are drawn.

    They are `log_weights`; -inf for what is no negative of the row and for negatives from
    `farthest` on. `numerics` is where two algorithms part, both in use:
      row_maximum     what the formula says: only a row's own maximum is taken off before exp. In
                      many dimensions nearly all probability is the nearest negative's
      global_maximum  the learner's maximum over all pairs is taken off first, positives and rows
                      with themselves (as if 1 apart) among them, and what then is 0 in float32 is
                      out: in 2,048 dimensions every negative, so that the draw is an even one, and
                      in fewer where a positive pair is near
    A row left with nothing draws evenly from all its negatives, near or far; a row that has none
    is -inf throughout. Raises ArgumentError for unknown `numerics`.
    """
    select = pairs.choose(NUMERICS, numerics, "numerics")
    here = pairs.present(labels, mask)
    c = pairs.compared(lax.stop_gradient(vectors), labels, mask)
    near = c.negative[None] & (c.distances < farthest)
    both = (here[:, None] & here[None, :])[None]
    distances = jnp.where(jnp.eye(labels.shape[0], dtype=bool), OWN, c.distances)
    logs = select(log_weights(distances, vectors.shape[-1], nearest), near, both)
    nothing = jnp.all(logs == -jnp.inf, axis=-1, keepdims=True)
    return jnp.where(nothing, jnp.where(c.negative[None], 0.0, -jnp.inf), logs)


def effective_negatives(logs: Float[Array, "m b b"]) -> Float[Array, "m b"]:
    """Among how many negatives each row draws: exp of the entropy of the draw that `logits` gives.

    From 1 (one negative has all probability) to the number of negatives (all have the same); 0 for
    a row without any.
    """
    some = jnp.any(logs > -jnp.inf, axis=-1)
    p = jnp.where(some[..., None], jax.nn.softmax(logs, axis=-1), 0.0)
    return jnp.where(some, jnp.exp(jnp.sum(jax.scipy.special.entr(p), axis=-1)), 0.0)


def _with_replacement(key: Array, logs: Array, positive: Array) -> Array:
    """By the inverse of the distribution function: memory O(b^2), where Gumbels would need b^3."""
    top = jnp.max(logs, axis=-1, keepdims=True)
    w = jnp.where(logs == -jnp.inf, 0.0, jnp.exp(logs - top))
    upto = lax.cummax(jnp.cumsum(w, axis=-1), axis=w.ndim - 1)
    target = jax.random.uniform(key, w.shape) * upto[..., -1:]
    find = jax.vmap(jax.vmap(lambda row, u: jnp.searchsorted(row, u, side="right")))
    index = find(upto, target).astype(jnp.int32)
    # Rounding of the running sum may let a row of probability 0 through, about once in 10^7.
    drawn = jnp.take_along_axis(w, index, axis=-1, mode="clip") > 0.0
    return jnp.where(drawn, index, jnp.argmax(w, axis=-1).astype(jnp.int32)[..., None])


def _without_replacement(key: Array, logs: Array, positive: Array) -> Array:
    """By one Gumbel for each entry: the row's t-th positive takes the t-th largest."""
    order = jnp.argsort(logs + jax.random.gumbel(key, logs.shape), axis=-1, descending=True)
    nth = jnp.cumsum(positive, axis=-1, dtype=jnp.int32) - 1
    number = jnp.sum(logs > -jnp.inf, axis=-1, keepdims=True, dtype=jnp.int32)
    nth = jnp.maximum(nth, 0)[None] % jnp.maximum(number, 1)
    return jnp.take_along_axis(order, nth, axis=-1).astype(jnp.int32)


@checked
def distance_weighted(
    key: Key[Array, ""],
    vectors: Float[Array, "b *m d"],
    labels: Int[Array, " b"],
    *,
    numerics: str = "row_maximum",
    replacement: bool = True,
    nearest: float = 0.5,
    farthest: float = 1.4,
    mask: Bool[Array, " b"] | None = None,
) -> Int[Array, "m b b"]:
    """One negative of row i for each positive pair (i, j), by the inverse density of its distance.

    The probability of n is proportional to w(D(i, n)), with
    log w(d) = (2 - C) log d - (C - 3) / 2 log(1 - d^2 / 4), D the Euclidean distance of unit
    vectors and C the size of one learner's; d below `nearest` counts as `nearest`, negatives from
    `farthest` on are left out, 1 - d^2 / 4 is at least 1e-8. `logits` says what `numerics` does.
    Learners, rows and pairs are drawn independently of each other; with `replacement=False` no
    negative comes twice to one anchor before all that it may draw have come.

    Result [m, b, b] as `margin_loss` takes it; entries (i, j) of no positive pair, and rows without
    negatives, mean nothing. Without gradient. Memory O(m b^2).
    Source: Wu et al., Sampling Matters in Deep Embedding Learning, ICCV 2017, arXiv 1706.07567,
    section 4; cut-offs, the global maximum with a row's distance 1 to itself, and draws without
    replacement as in the public code of Berman et al., MultiGrain, arXiv 1902.05509, which draws
    with replacement where a row has fewer negatives left than positives (here all of them once
    before any comes twice).
    """
    logs = logits(vectors, labels, numerics=numerics, nearest=nearest, farthest=farthest, mask=mask)
    positive, _ = pairs.relations(labels, pairs.present(labels, mask))
    draw = _with_replacement if replacement else _without_replacement
    return draw(key, logs, positive)
