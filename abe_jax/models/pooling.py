"""From a map to one feature vector: average, maximum, GeM and R-MAC."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

POOLINGS = ("average", "max", "gem", "rmac", "token")
SCALES = 3  # of R-MAC
OVERLAP = 0.4  # of neighbouring regions of R-MAC


class Pooling(nn.Module):
    """Pools every map [n, h, w, c] to [n, c], in float32.

    `tokens` says that maps are [n, 1, 1 + h * w, c], a class token before h * w patches: "token"
    takes the class token, all others pool the patches as a map, of `grid` rows and columns.
    """

    kind: str
    p: float = 3.0
    learned: bool = False
    tokens: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], grid: tuple[int, int] | None = None
    ) -> Float[Array, "n c"]:
        x = x.astype(jnp.float32)
        if self.kind == "token":
            return x[:, 0, 0]
        x = patches(x, grid) if self.tokens else x
        if self.kind == "average":
            return x.mean(axis=(1, 2))
        if self.kind == "max":
            return x.max(axis=(1, 2))
        if self.kind == "rmac":
            return rmac(x)
        p: Any = self.p
        if self.learned:
            p = self.param("p", nn.initializers.constant(self.p), (), jnp.float32)
        return gem(x, p)


def patches(
    x: Float[Array, "n 1 t c"], grid: tuple[int, int] | None = None
) -> Float[Array, "n h w c"]:
    """The patches of a token map as the map they were cut from, without the class token.

    `grid` are its rows and columns; None: a square.
    """
    side = math.isqrt(x.shape[2] - 1)
    return x[:, 0, 1:].reshape(x.shape[0], *(grid or (side, side)), x.shape[3])


def gem(x: Float[Array, "n h w c"], p: float | Float[Array, ""]) -> Float[Array, "n c"]:
    """Generalised mean: (mean over positions of max(x, 1e-6)^p)^(1/p) for each channel.

    p = 1 is the average of what is positive, p = inf the maximum; p may be a learned scalar. The
    maximum is divided out before the power, so that no p of use overflows float32.
    Source: Radenovic et al., Fine-tuning CNN image retrieval with no human annotation, 2018, eq. 3;
    Berman et al., MultiGrain, arXiv 1902.05509.
    """
    x = jnp.maximum(x, 1e-6)
    if isinstance(p, float) and math.isinf(p):
        return x.max(axis=(1, 2))
    largest = lax.stop_gradient(x.max(axis=(1, 2), keepdims=True))
    mean = jnp.mean((x / largest) ** p, axis=(1, 2))
    return largest[:, 0, 0] * mean ** (1.0 / p)


def rmac(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    """Regional maxima: the sum of the unit vectors of maxima over squares at three scales.

    At scale l squares of side 2 min(h, w) / (l + 1) lie l along the shorter side of the map, and
    along the longer as many more as bring the overlap of neighbours nearest to 40 percent.
    Source: Tolias et al., Particular object retrieval with integral max-pooling of CNN activations,
    ICLR 2016, section 3.2 (whose whitening of each region is left out).
    """
    total = jnp.zeros((x.shape[0], x.shape[3]), x.dtype)
    for top, left, side in regions(x.shape[1], x.shape[2]):
        largest = x[:, top : top + side, left : left + side].max(axis=(1, 2))
        square = jnp.sum(largest * largest, axis=-1, keepdims=True)
        total = total + largest * lax.rsqrt(jnp.maximum(square, 1e-12))
    return total


def regions(height: int, width: int) -> list[tuple[int, int, int]]:
    """(top, left, side) of the squares that `rmac` looks at, the coarsest first."""
    short, long = min(height, width), max(height, width)
    more = _more(short, long)
    squares = []
    for scale in range(1, SCALES + 1):
        side = max(1, 2 * short // (scale + 1))
        tall, wide = (scale, scale + more) if height <= width else (scale + more, scale)
        squares += [
            (top, left, side)
            for top in _starts(height, side, tall)
            for left in _starts(width, side, wide)
        ]
    return squares


def _more(short: int, long: int) -> int:
    """How many more squares lie along the longer side than along the shorter."""
    if short == long:
        return 0
    steps = range(1, 7)  # the distance of neighbours is (long - short) / steps
    return min(steps, key=lambda n: abs(1 - (long - short) / n / short - OVERLAP))


def _starts(length: int, side: int, number: int) -> list[int]:
    if number == 1:
        return [(length - side) // 2]
    return [(length - side) * i // (number - 1) for i in range(number)]
