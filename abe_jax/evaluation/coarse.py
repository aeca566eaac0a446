"""Distances from vectors rounded to fewer bits, and what the rounding can hide: a cheap first pass.

A product of bfloat16 numbers can take half the time of one of float32 where a processor has
instructions for it (AVX-512 BF16, AMX; `fastest_kind` tries), and the neighbours of a query stand
out from most of a gallery by far more than such a product errs. So every pair gets two bounds from
it, and only what they leave open is compared exactly (`pruned.py`).

Proof of the bounds. Let x' be x rounded and e(x) = |x - x'|, measured for every row. Then
q.g - q'.g' = (q - q').g + q'.(g - g'), so by Cauchy and Schwarz

    |q.g - q'.g'| <= e(q) |g| + |q'| e(g) <= e(q) |g| + (|q| + e(q)) e(g) =: h

and |q - g|^2 = |q|^2 + |g|^2 - 2 q.g lies within 2 h of |q|^2 + |g|^2 - 2 q'.g'. The product itself
is summed in float32: a sum of d products errs by gamma_d sum |q'_i g'_i| at most, in any order,
gamma_d = d u / (1 - d u), u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed. 2002, section 3.1, (3.5)), and products of two bfloat16 numbers are exact in float32. That,
the few roundings beside it and those of the move into the frame are what `frame.share` bounds, for
float32; it leaves a factor of four, of which |q'| <= (1 + 2^-8) |q| takes little.

Why not int8: a step of 1 / 127 of a row's largest number errs ten times as much as rounding each
number to 8 bits of its own, and XLA's product of signed numbers (jaxlib 0.10) uses no VNNI; that of
unsigned and signed ones could, but it turns them into int32 first. Why not fewer dimensions: where
no direction of space is rare, what is left out of a vector hides everything.
"""

import functools
import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

from abe_jax.evaluation import frame, top_k
from abe_jax.evaluation.chunks import Numbers, counts
from abe_jax.evaluation.frame import ROWS_AT_ONCE

BFLOAT16 = jnp.bfloat16.dtype
FLUSHED = 2.0**-125  # twice the numbers that a device may take for 0
OUTWARDS = 2.0**-20  # by what part float64 is moved outwards before it becomes float32
PAYS = 0.8  # of float32's time: a product that takes longer is not worth its larger error


class Rounded(NamedTuple):
    """Rows for a first pass."""

    numbers: Float[np.ndarray | Array, "n d"]  # bfloat16 or float32
    lengths: Float32[np.ndarray | Array, " n"]  # at most |x|^2 less what float32 can err
    slack: Float32[np.ndarray | Array, " n"]  # at least what float32 can err twice; inf: unknown
    norms: Float32[np.ndarray | Array, " n"]  # at least |x|
    errors: Float32[np.ndarray | Array, " n"]  # at least |x - numbers|


class Side(NamedTuple):
    """Rows with their numbers, as in `chunks.Rows`."""

    rows: Rounded
    numbers: Numbers


def rounded(
    moved: Float32[np.ndarray, "n d"], lengths: Float[np.ndarray, " n"], kind: Any
) -> Rounded:
    """Moved rows rounded to a type; `lengths` as `search.ExactVectors` has, infinite if cut off."""
    n, d = moved.shape
    numbers = np.empty((n, d), kind)
    squares, errors = np.empty((2, n))
    for start in range(0, n, ROWS_AT_ONCE):
        at = slice(start, start + ROWS_AT_ONCE)
        own = numbers[at] = moved[at].astype(kind)
        wide = moved[at].astype(np.float64)
        squares[at] = np.einsum("nd,nd->n", wide, wide)
        wide -= own.astype(np.float32)
        errors[at] = np.einsum("nd,nd->n", wide, wide)
    share = frame.share(d)
    return Rounded(
        numbers,
        (squares * (1 - share) * (1 - OUTWARDS)).astype(np.float32),
        _up(np.where(np.isinf(lengths), np.inf, 2 * share * (1 + share) * squares)),
        _up(np.sqrt(squares)),
        _up(np.sqrt(errors) + np.sqrt(d) * FLUSHED),
    )


def _up(x: Float[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    return (x * (1 + OUTWARDS)).astype(np.float32)


@partial(jax.jit, static_argnames="length")
def bounds(
    queries: Side, gallery: Side, *, length: int
) -> tuple[Float32[Array, "q n"], Float32[Array, "q g"]]:
    """The least that each squared distance can be, and the most of the nearest row of each group.

    Groups are `length` neighbouring rows. Infinite where a row does not count for a query.
    """
    q, g = queries.rows, gallery.rows
    product = lax.dot_general(
        q.numbers,
        g.numbers,
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST if q.numbers.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )
    small = frame.smallest(q.numbers.shape[1])
    of_queries = q.errors[:, None] * g.norms[None]
    hidden = 2 * (of_queries + (q.norms + q.errors)[:, None] * g.errors[None])
    least = (q.lengths[:, None] - small) + g.lengths[None] - 2.0 * product - hidden
    most = least + 2 * hidden + (q.slack[:, None] + 4 * small) + g.slack[None]
    there = counts(queries.numbers, gallery.numbers)
    least, most = (jnp.where(there, x, jnp.inf) for x in (least, most))
    return least, top_k.group_minima(most, length)


@functools.cache
def fastest_kind() -> Any:
    """bfloat16 where this machine multiplies it clearly faster than float32, tried once."""
    x = np.ones((256, 512), np.float32), np.ones((4096, 512), np.float32)
    wide, narrow = (_seconds([part.astype(kind) for part in x]) for kind in (np.float32, BFLOAT16))
    return BFLOAT16 if narrow < PAYS * wide else np.float32


def _seconds(both: list[np.ndarray]) -> float:
    """The least of several times of a product."""
    q, g = (jax.device_put(part) for part in both)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(_product(q, g))
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first one compiled


@jax.jit
def _product(q: Float[Array, "q d"], g: Float[Array, "n d"]) -> Float32[Array, "q n"]:
    return lax.dot_general(q, g, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
