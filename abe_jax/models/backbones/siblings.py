"""Several 1x1 convolutions of one map as one matrix product, for GPUs.

Apart, each reads the map anew, forward and for its kernel's gradient, and each makes a gradient of
the map, all of which are then added; the narrow ones leave most of a GPU idle. Together the map is
read once and has one gradient. Every number is the same sum of products; only the order in which a
processor adds them, and of the map's gradient where it rounds between, can differ.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.models.backbones.bias import biased
from abe_jax.models.backbones.layers import HE, initial


def rectified_siblings(
    x: Float[Array, "b h w c"], features: Mapping[str, int], *, dtype: Any
) -> dict[str, Float[Array, "b h w k"]]:
    """ReLUs of 1x1 convolutions of `x`, by name, with the parameters of `layers.Conv` of the names.

    Args:
        x: a map in `dtype`.
        features: the channels of each convolution.
        dtype: what the product is computed in.
    """
    own = [PointWeights(channels, name=name)(x.shape[-1]) for name, channels in features.items()]
    kernel = jnp.concatenate([kernel.astype(dtype) for kernel, _ in own], axis=-1)
    bias = jnp.concatenate([bias for _, bias in own])
    product = jax.lax.dot_general(x, kernel, (((3,), (0,)), ((), ())))
    # `split`, whose gradient is one concatenation; that of slices is a sum of padded maps.
    parts = jax.lax.split(biased(product, bias, rectify=True), tuple(features.values()), axis=3)
    return dict(zip(features, parts, strict=True))


class PointWeights(nn.Module):
    """The parameters of a 1x1 `layers.Conv` with a bias, without the convolution."""

    features: int
    kernel_init: nn.initializers.Initializer = HE

    @nn.compact
    def __call__(self, channels: int) -> tuple[Any, Any]:
        """The kernel [c, k] and the bias [k]: of JAX, or of NumPy where the parameters are."""
        init, shape = initial(self, self.kernel_init), (1, 1, channels, self.features)
        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return kernel[0, 0], bias
