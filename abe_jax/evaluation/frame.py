"""Where float32 compares vectors: near the origin, and how far off a distance there can be.

Device programs give no distances but the least that each exact one can be: whatever float32 does,
a row whose least exceeds a distance is farther than it. The exact distance is `order.exact`'s.
"""

import math
import threading
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Float64

# A sum of d products errs by (d + 3) u of the sum of their sizes at most, in any order, with
# u = 2^-24 in float32 and 2^-53 in float64; four times as much leaves room for a device that rounds
# a product a little more.
ROUNDING = {np.float32: 2.0**-22, np.float64: 2.0**-51}
SAMPLE = 1024  # rows that say where the vectors lie
PAYS = 4  # an origin that divides the squared lengths by less is not worth a copy of the vectors
USUAL = 20  # numbers up to 2^USUAL and down to its inverse need no factor
LONGEST = 2.0**50  # numbers beyond are cut off for float32, which moves no two vectors apart
# Blocks of queries run in threads, and OpenBLAS of NumPy before 2.3.5 can give one thread's product
# to another (numpy/numpy#29391); one product takes all cores anyhow.
PRODUCTS = threading.Lock()
ROWS_AT_ONCE = 2048  # rows in float64 at once


class Frame(NamedTuple):
    """Vectors x are compared as (x - origin) 2^power."""

    origin: Float64[np.ndarray, "m 1 d"] | None  # None: 0
    power: int
    grid: int  # the exponent of what divides the numbers of vectors that float64 compares exactly

    @property
    def still(self) -> bool:
        """Whether vectors are compared as they are."""
        return self.origin is None and not self.power

    def moved(
        self, x: Float32[np.ndarray, "m n d"], *, bounded: bool = False
    ) -> Float32[np.ndarray, "m n d"]:
        """Vectors for float32; x itself where nothing moves.

        `bounded`: no number of x is beyond LONGEST, unless it is none at all.
        """
        if self.still and (bounded or np.abs(x).max() <= LONGEST):
            return x
        result = np.empty(x.shape, np.float32)
        for start in range(0, x.shape[1], ROWS_AT_ONCE):
            at = slice(start, start + ROWS_AT_ONCE)
            result[:, at] = np.clip(self.wide(x[:, at]), -LONGEST, LONGEST)
        return result

    def wide(self, x: Float[np.ndarray, "m n d"]) -> Float64[np.ndarray, "m n d"]:
        """Vectors for float64."""
        y = x.astype(np.float64)
        if self.origin is not None:
            y -= self.origin
        return np.ldexp(y, self.power) if self.power else y

    def even(self, y: Float64[np.ndarray, "m n d"]) -> bool:
        """Whether moved vectors are whole multiples of the grid, so small that nothing is rounded.

        Then |q|^2 + |g|^2 - 2 q.g is a sum of whole numbers below 2^53: no two orders of adding
        differ. So it is for collapsed embeddings, a few float32 steps apart, and for counts.
        """
        for part in (y[:, :1], y):  # most vectors show in their first row that they are not
            steps = np.ldexp(part, -self.grid)
            if not (np.rint(steps) == steps).all():
                return False
        return bool(2 * math.sqrt(y.shape[0] * y.shape[2]) * np.abs(steps).max() < 2.0**26)


def frame(gallery: Float32[np.ndarray, "m n d"], queries: Float32[np.ndarray, "m q d"]) -> Frame:
    """A frame from a sample of both; any frame is right, a good one leaves float32 little error."""
    rows, others = (
        x[:, :: -(-x.shape[1] // SAMPLE)].astype(np.float64) for x in (gallery, queries)
    )
    centre, both = rows.mean(axis=1, keepdims=True), np.concatenate([rows, others], axis=1)
    pays = PAYS * np.square(both - centre).sum() <= np.square(both).sum()
    most = float(np.abs(both - centre if pays else both).max())
    exponent = math.frexp(most)[1]
    power = 0 if abs(exponent) <= USUAL or not most else -exponent
    spread = 2 * math.sqrt(both.shape[0] * both.shape[2]) * math.ldexp(most, power)
    grid = math.frexp(spread)[1] - 25
    if not pays:
        return Frame(None, power, grid)
    step = grid - power  # of the grid, in the vectors' own numbers: the origin is on it
    return Frame(np.ldexp(np.rint(np.ldexp(centre, -step)), step), power, grid)


def sample_rows(count: int) -> np.ndarray:
    """Numbers of rows, SAMPLE at most, evenly spaced over `count`."""
    return np.arange(0, count, max(1, -(-count // SAMPLE)))


def share(dim: int, kind: type = np.float32) -> float:
    """By what part of |q|^2 + |g|^2 a squared distance of moved vectors can be off.

    Both sums of squares and the product err by (d + 3) u (|q|^2 + |g|^2 + 2 sum |q_i g_i|) at most,
    the move by 2 u (|q| + |g|)^2: together less than 2 (d + 8) u (|q|^2 + |g|^2).
    """
    return 2 * (dim + 8) * ROUNDING[kind]


def smallest(dim: int) -> float:
    """By how much more, where products in float32 are too small to be kept."""
    return 8 * (dim + 1) * float(np.finfo(np.float32).tiny)


def lengths(moved: Float32[np.ndarray, "m n d"]) -> Float64[np.ndarray, " n"]:
    """The squared lengths of moved vectors, infinite where a number may have been cut off."""
    squares = np.einsum("mnd,mnd->n", moved, moved).astype(np.float64)
    return np.where(squares < LONGEST**2 / 2, squares, np.inf)


def least_squared(
    queries: Float[Array, "1 q d"], gallery: Float[Array, "1 n d"]
) -> Float[Array, "q n"]:
    """The least that |q - g|^2 of concatenated vectors can be."""
    return _least(queries[0], gallery[0])


def least_mean(
    queries: Float[Array, "m q d"], gallery: Float[Array, "m n d"]
) -> Float[Array, "q n"]:
    """The least that the mean over learners of |q - g| can be."""
    zero = jnp.zeros((queries.shape[1], gallery.shape[1]), jnp.float32)
    total, _ = lax.scan(
        lambda total, pair: (total + jnp.sqrt(jnp.maximum(_least(*pair), 0.0)), None),
        zero,
        (queries, gallery),
    )
    m = len(queries)
    return total * ((1 - (m + 8) * ROUNDING[np.float32]) / m)


def _least(queries: Array, gallery: Array) -> Array:
    dim = queries.shape[1]
    product = jnp.dot(queries, gallery.T, precision=lax.Precision.HIGHEST)
    kept = 1 - share(dim)
    own, others = (jnp.sum(x**2, axis=-1) * kept for x in (queries, gallery))
    return (own[:, None] - smallest(dim)) + others[None] - 2.0 * product


class Bounds(NamedTuple):
    """The least and the most that exact distances, times a power of two, can be."""

    least: Float64[np.ndarray, "q n"]
    most: Float64[np.ndarray, "q n"]


def bounds(
    fixed: Frame,
    queries: Float64[np.ndarray, "m q d"],
    gallery: Float64[np.ndarray, "m n d"],
    rooted: bool,
) -> Bounds:
    """Of moved vectors, in float64 on the host; `rooted`: of means over learners."""
    even = fixed.even(queries) and fixed.even(gallery)
    off = 0.0 if even else share(queries.shape[2], np.float64)
    sides = list(_sides(queries, gallery, off))
    if not rooted:
        return sides[0]
    m, rounding = len(sides), (len(sides) + 8) * ROUNDING[np.float64]
    least, most = (np.sum([np.sqrt(np.maximum(s[i], 0.0)) for s in sides], axis=0) for i in (0, 1))
    return Bounds(least * ((1 - rounding) / m), most * ((1 + rounding) / m))


def _sides(queries: np.ndarray, gallery: np.ndarray, off: float) -> Iterator[Bounds]:
    """The bounds of each learner's squared distances."""
    for q, g in zip(queries, gallery, strict=True):
        with PRODUCTS:
            product = q @ g.T
        product *= -2.0
        own, others = (np.einsum("nd,nd->n", x, x) for x in (q, g))
        lengths = own[:, None] + others[None]
        product += lengths
        if not off:
            yield Bounds(product, product)
            continue
        lengths *= off
        yield Bounds(product - lengths, product + lengths)
