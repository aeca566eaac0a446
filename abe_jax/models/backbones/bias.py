"""A bias and the ReLU behind it, two ways: as a CPU takes it, and with a gradient for GPUs.

Values are the same to the bit. A bias's gradient is a sum over all positions of all maps. XLA makes
of it a reduction of columns together with the ReLU's mask; the way for GPUs makes it a matrix
product, summed in float32 and not rounded to the compute type. It keeps of a ReLU its output alone,
which tells where it passed, so that the sum before the ReLU need not be stored.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from abe_jax import ways

ROWS = 8  # of partial sums: what the units that multiply matrices take at least


def biased(
    x: Float[Array, "b h w c"], bias: Float[Array | np.ndarray, " c"], *, rectify: bool = False
) -> Float[Array, "b h w c"]:
    """x + bias in the type of `x`, and with `rectify` a ReLU of it.

    Args:
        x: maps.
        bias: in float32.
        rectify: whether a ReLU follows.
    """
    if ways.taken("bias"):
        return summed_by_product(x, jnp.asarray(bias), rectify)
    y = _plus(x, bias)
    return nn.relu(y) if rectify else y


def _plus(x: Array, bias: Any) -> Array:
    return x + bias.astype(x.dtype)[None, None, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def summed_by_product(
    x: Float[Array, "b h w c"], bias: Float[Array, " c"], rectify: bool
) -> Float[Array, "b h w c"]:
    """`biased` with the bias's gradient as a matrix product."""
    y = _plus(x, bias)
    return nn.relu(y) if rectify else y


def _kept(x: Array, bias: Array, rectify: bool) -> tuple[Array, Array | None]:
    y: Array = summed_by_product(x, bias, rectify)
    return y, y if rectify else None


def _gradients(rectify: bool, y: Array | None, g: Array) -> tuple[Array, Array]:
    if rectify:
        assert y is not None
        g = jnp.where(y > 0, g, 0)
    return g, column_sums(g)


summed_by_product.defvjp(_kept, _gradients)


def column_sums(x: Float[Array, "b h w c"]) -> Float[Array, " c"]:
    """Sums over all but the last axis, in float32.

    Position n counts in row n mod ROWS of a matrix of zeros and ones, whose product with the maps
    has a partial sum in each row. One row of ones would do, but XLA rewrites such a product as the
    reduction that this is to avoid.
    """
    positions = x.reshape(-1, x.shape[-1])
    shape = (ROWS, len(positions))
    row, position = (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
    members = (jax.lax.rem(position, jnp.full(shape, ROWS, jnp.int32)) == row).astype(x.dtype)
    # Of a float32 number GPUs multiply ten bits, unless asked for all of them.
    precision = jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
    parts = jax.lax.dot(members, positions, precision=precision, preferred_element_type=jnp.float32)
    return parts.sum(axis=0)
