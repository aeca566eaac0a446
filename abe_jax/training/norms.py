"""The norm of all gradients together, two ways: parameter by parameter, and of one array for GPUs.

A sum of squares for each parameter is two small kernels for each on a GPU, over 300 a step of ABE-8
and over 1,800 of 8 heads, whose launches take longer than their work. Joined into one array it is a
handful; that array is read and written once, in a few hundredths of a millisecond.

The optimiser's state and its updates stay trees on both ways: what acts on an update hangs on its
name (decay, rates, fixed parts, stages), as checkpoints do, and a flat array would have to be cut
into parameters again, a kernel for each.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax import ways

if TYPE_CHECKING:
    import optax


def norm(tree: Any) -> Float[Array, ""]:
    """The square root of the sum of squares of all arrays of a tree."""
    import optax

    leaves = jax.tree.leaves(tree)
    if not (leaves and ways.taken("norm")):
        return optax.tree.norm(tree)
    joined = jnp.concatenate([leaf.reshape(-1).astype(jnp.float32) for leaf in leaves])
    # Without the barrier XLA makes of it the sum of one reduction for each array again.
    joined = jax.lax.optimization_barrier(joined)
    return jnp.sqrt(jnp.sum(joined * joined))


def clipped(most: float) -> "optax.GradientTransformation":
    """`optax.clip_by_global_norm` by `norm`: a longer gradient is scaled to the length `most`."""
    import optax

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        length = norm(updates)
        within = length < most

        def clip(leaf: Any) -> Array:
            return jax.lax.select(within, leaf, (leaf / length.astype(leaf.dtype)) * most)

        return jax.tree.map(clip, updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)
