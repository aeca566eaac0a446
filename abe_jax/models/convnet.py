"""A small backbone for 32 px images on a CPU, in the same form as the large ones."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.models.layers import Conv, MeanPool
from abe_jax.models.stages import Stage

NORMS = ("none", "batch")


class Block(nn.Module):
    """A convolution, batch normalisation where asked for, and a ReLU."""

    features: int
    size: int
    stride: int
    batch_norm: bool
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        # A bias before batch normalisation would be taken out again with the mean.
        conv = Conv(
            self.features,
            self.size,
            stride=self.stride,
            use_bias=not self.batch_norm,
            dtype=self.dtype,
            name="conv",
        )
        x = conv(x)
        if self.batch_norm:
            norm = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                axis_name=self.axis_name,
                name="norm",
            )
            x = norm(x.astype(jnp.float32)).astype(self.dtype)
        return nn.relu(x)


def stages(width: int, norm: str, dtype: Any, axis_name: str | None) -> tuple[Stage, ...]:
    """The stages conv1 (stride 2), conv2, pool2, conv3, conv4, pool4, conv5, conv6.

    At 32 px the maps have sides 16, 8 behind pool2 and 4 behind pool4, with width, 2 x width and
    4 x width channels. Cut at pool4, a learner's share of the work is small: with width 16 and a
    trunk of one stage, ABE-4 needs 5.5 million multiply-adds for an image and ABE-1 2.8 million.
    """
    block = partial(Block, batch_norm=norm == "batch", dtype=dtype, axis_name=axis_name)

    def conv(name: str, features: int, size: int = 3, stride: int = 1) -> Stage:
        make = partial(block, features=features, size=size, stride=stride)
        return Stage(name=name, make=make, stride=stride)

    def pool(name: str) -> Stage:
        return Stage(name=name, make=MeanPool, stride=2, pooling=True)

    return (
        conv("conv1", width, size=5, stride=2),
        conv("conv2", width),
        pool("pool2"),
        conv("conv3", 2 * width),
        conv("conv4", 2 * width),
        pool("pool4"),
        conv("conv5", 4 * width),
        conv("conv6", 4 * width),
    )
