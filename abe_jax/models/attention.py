"""The attention of ABE-M: one trunk for all learners, one mask head for each (arXiv 1804.00382)."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.backbones.layers import GLOROT, Conv


class MaskHeads(nn.Module):
    """Sigmoid masks A_m over every position and channel: a 1x1 convolution for each learner.

    The M convolutions are one vmapped module, which XLA runs as one matrix product.
    """

    learners: int
    dtype: Any

    @nn.compact
    def __call__(self, trunk: Float[Array, "b h w k"], channels: int) -> Float[Array, "b m h w c"]:
        heads = nn.vmap(
            Conv,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,  # pyright: ignore[reportArgumentType]: flax takes None, its hint omits it
            out_axes=1,
            axis_size=self.learners,
        )
        conv = heads(channels, 1, dtype=self.dtype, kernel_init=GLOROT, name="conv")
        return nn.sigmoid(conv(trunk))
