"""Local response normalisation, two ways: as a CPU takes it, and with less to keep for GPUs.

Both read and write the compute type and compute in float32 between. Differentiated as written, the
way of all platforms keeps three float32 maps for the gradient; the one for GPUs keeps its input, in
the compute type, and computes the rest again, which costs a GPU less than reading it. Its power is
made of square roots, within a few units of float32's last place of the other's.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax import ways

N, ALPHA, BETA = 5, 1e-4, 0.75  # Caffe's numbers for GoogLeNet


def local_response(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Local response normalisation across channels with Caffe's numbers for GoogLeNet.

    x / (1 + alpha / n * sum of x^2 over the n channels around)^beta, n 5, alpha 1e-4, beta 0.75;
    channels beyond the ends count as zero. Computed in float32.
    """
    if ways.taken("response"):
        return computed_again(x)
    wide = x.astype(jnp.float32)
    return (wide * (1 + ALPHA / N * _around(wide * wide)) ** -BETA).astype(x.dtype)


def _around(x: Array) -> Array:
    """The sum over the N channels around each."""
    half, channels = N // 2, x.shape[-1]
    padded = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (half, half)))
    return sum((padded[..., k : k + channels] for k in range(N)), start=jnp.float32(0))


@jax.custom_vjp
def computed_again(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """`local_response` that keeps nothing but its input for its gradient."""
    wide = x.astype(jnp.float32)
    return (wide * _powers(wide)[1]).astype(x.dtype)


def _powers(wide: Array) -> tuple[Array, Array]:
    """1 / s and s^-BETA of s = 1 + ALPHA / N * sum of squares around, which is at least 1."""
    root = jax.lax.rsqrt(1 + ALPHA / N * _around(wide * wide))
    return root * root, root * jnp.sqrt(root)


def _kept(x: Array) -> tuple[Array, Array]:
    return computed_again(x), x


def _gradient(x: Array, g: Array) -> tuple[Array]:
    """g s^-beta - 2 alpha beta / n x sum over the channels around of g x s^(-beta - 1)."""
    wide, slope = x.astype(jnp.float32), g.astype(jnp.float32)
    inverse, power = _powers(wide)
    others = _around(slope * wide * power * inverse)
    return ((slope * power - 2 * ALPHA * BETA / N * wide * others).astype(x.dtype),)


computed_again.defvjp(_kept, _gradient)
