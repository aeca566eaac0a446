"""ResNet-18 and ResNet-50 (arXiv 1512.03385) as torchvision has them.

A bottleneck's stride is that of its 3x3 convolution, where the paper has it on the first 1x1.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.backbones.conv_norm import batch_norm
from abe_jax.models.backbones.layers import Conv, MaxPool
from abe_jax.models.backbones.stages import Options, Stage, staged

WIDTHS = (64, 128, 256, 512)
DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}  # blocks of each width


def _conv(options: Options, features: int, size: int, stride: int, name: str) -> Conv:
    return Conv(features, size, stride=stride, use_bias=False, dtype=options.dtype, name=name)


_norm = partial(batch_norm, epsilon=1e-5)


class StemConv(nn.Module):
    """The 7x7 convolution on the image."""

    options: Options
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j 64"]:
        x = _conv(self.options, WIDTHS[0], 7, self.stride, "conv")(x)
        return nn.relu(_norm(self.options, name="norm")(x, train))


class Residual(nn.Module):
    """Convolutions of (channels, side), the stride on the first of side 3; added to the input.

    Where the map changes, a 1x1 convolution with the stride fits the input to it. No ReLU stands
    before the sum, one behind it.
    """

    convolutions: tuple[tuple[int, int], ...]
    options: Options
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        options, stride, shortcut = self.options, self.stride, x
        for index, (features, size) in enumerate(self.convolutions, start=1):
            x = nn.relu(x) if index > 1 else x
            own = stride if size == 3 else 1
            stride = stride // own
            x = _conv(options, features, size, own, f"conv{index}")(x)
            x = _norm(options, name=f"norm{index}")(x, train)
        if self.stride > 1 or shortcut.shape[-1] != x.shape[-1]:
            shortcut = _conv(options, x.shape[-1], 1, self.stride, "shortcut_conv")(shortcut)
            shortcut = _norm(options, name="shortcut_norm")(shortcut, train)
        return nn.relu(shortcut + x)


def basic(width: int) -> tuple[tuple[int, int], ...]:
    """The convolutions of ResNet-18's blocks: (channels, side) of each."""
    return (width, 3), (width, 3)


def bottleneck(width: int) -> tuple[tuple[int, int], ...]:
    """The convolutions of ResNet-50's blocks: (channels, side) of each."""
    return (width, 1), (width, 3), (4 * width, 1)


def _stages(
    options: Options,
    depths: tuple[int, ...],
    block: Callable[[int], tuple[tuple[int, int], ...]],
) -> tuple[Stage, ...]:
    made = [
        staged("conv1", partial(StemConv, options=options), stride=2),
        Stage(name="pool1", make=partial(MaxPool, pad=1, ceil=False), stride=2, pooling=True),
    ]
    for group, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True), start=1):
        make = partial(Residual, convolutions=block(width), options=options)
        for index in range(depth):
            stride = 2 if group > 1 and index == 0 else 1
            made.append(staged(f"block{group}_{index}", make, stride))
    return tuple(made)


def resnet18(options: Options) -> tuple[Stage, ...]:
    """ResNet-18, made for 224 px: conv1, pool1, block1_0 .. block4_1 (512 channels)."""
    return _stages(options, DEPTHS[18], basic)


def resnet50(options: Options) -> tuple[Stage, ...]:
    """ResNet-50, made for 224 px: conv1, pool1, block1_0 .. block4_2 (2048 channels)."""
    return _stages(options, DEPTHS[50], bottleneck)
