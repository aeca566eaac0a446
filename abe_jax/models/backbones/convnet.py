"""A small backbone for 32 px images on a CPU, in the same form as the large ones."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.backbones.conv_norm import ConvNorm
from abe_jax.models.backbones.layers import Conv, MeanPool
from abe_jax.models.backbones.stages import Options, Stage, staged

NORMS = ("none", "batch", "bin")


class ConvReLU(nn.Module):
    """A convolution with bias and a ReLU."""

    features: int
    size: int
    options: Options
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        conv = Conv(
            self.features,
            self.size,
            stride=self.stride,
            rectify=True,
            dtype=self.options.dtype,
            name="conv",
        )
        return conv(x)


def stages(options: Options) -> tuple[Stage, ...]:
    """The stages conv1 (stride 2), conv2, pool2, conv3, conv4, pool4, conv5, conv6.

    At 32 px the maps have sides 16, 8 behind pool2 and 4 behind pool4, with width, 2 x width and
    4 x width channels. Cut at pool4, a learner's share of the work is small: with width 16 and a
    trunk of one stage, ABE-4 needs 5.5 million multiply-adds for an image and ABE-1 2.8 million.
    """
    width = options.width
    # A bias before batch normalisation would be taken out again with the mean.
    normed = partial(ConvNorm, epsilon=1e-5, use_bias=False)
    block = ConvReLU if options.norm == "none" else normed

    def conv(name: str, features: int, size: int = 3, stride: int = 1) -> Stage:
        make = partial(block, features=features, size=size, options=options)
        return staged(name, make, stride)

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
