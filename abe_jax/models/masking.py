"""A map under all learners' masks, two ways: as a CPU takes it, and with less to keep for GPUs.

Values are the same to the bit. The way for GPUs keeps the map and what the masks are sigmoids of,
and computes the masks again for the gradient. An `optimization_barrier` keeps the gradient of the
masked maps, a sum over several layers, out of what follows: XLA would otherwise fuse that sum, its
product with the masks, the sum over learners and the change of axes for the masks' convolutions
into one slow kernel.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax import ways


def masked(s: Float[Array, "b 1 h w c"], logits: Float[Array, "b m h w c"]) -> Array:
    """s * sigmoid(logits) for each learner: [b, m, h, w, c]. `ways.py` says which way is taken."""
    if ways.taken("masks"):
        return masked_again(s, logits)
    return _product(s, logits)


def _product(s: Array, logits: Array) -> Array:
    return s * nn.sigmoid(logits)


@jax.custom_vjp
def masked_again(
    s: Float[Array, "b 1 h w c"], logits: Float[Array, "b m h w c"]
) -> Float[Array, "b m h w c"]:
    """`masked` that computes the masks again for its gradient, in float32."""
    return _product(s, logits)


def _kept(s: Array, logits: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(s, logits), (s, logits)


def _gradients(kept: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    s, logits = kept
    slope = jax.lax.optimization_barrier(g).astype(jnp.float32)
    masks = nn.sigmoid(logits.astype(jnp.float32))
    to_s = (slope * masks).sum(axis=1, keepdims=True)
    to_logits = slope * s.astype(jnp.float32) * masks * (1 - masks)
    return to_s.astype(s.dtype), to_logits.astype(logits.dtype)


masked_again.defvjp(_kept, _gradients)
