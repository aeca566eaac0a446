"""Stored float16 compared on devices that may know no float16: it is sent as its bits."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float16, Float32, UInt16

from abe_jax.evaluation import frame

SUBNORMAL, INFINITE = 0x400, 0x7C00  # bits below the one and from the other on, without the sign


def bits(stored: Float16[np.ndarray, "n w"]) -> UInt16[np.ndarray, "1 n w"]:
    """The bits of vectors, as `least_squared` takes them."""
    return np.asarray(stored).view(np.uint16)[None]


def numbers(of: UInt16[Array, "..."]) -> Float32[Array, "..."]:
    """The float32 numbers that the bits of float16 stand for, all exact.

    No number on the way is subnormal in float32, which a device may take for 0.
    """
    wide = of.astype(jnp.uint32)
    size, sign = wide & 0x7FFF, (wide >> 15) << 31
    usual = (size << 13) + (112 << 23)  # the exponent's bias is 127 and not 15
    special = (size << 13) | 0x7F800000
    small = size.astype(jnp.float32) * np.float32(2.0**-24)
    kept = jnp.where(size < INFINITE, usual, special)
    kept = jnp.where(size < SUBNORMAL, lax.bitcast_convert_type(small, jnp.uint32), kept)
    return lax.bitcast_convert_type(kept | sign, jnp.float32)


def least_squared(
    queries: Float32[Array, "1 q w"], gallery: UInt16[Array, "1 n w"]
) -> Float32[Array, "q n"]:
    """`frame.least_squared` of a gallery by its bits."""
    return frame.least_squared(queries, numbers(gallery))
