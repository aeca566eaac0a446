"""Networks of inverted residuals: MobileNetV2 (arXiv 1801.04381) and EfficientNet-Lite.

EfficientNet-Lite is EfficientNet (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6;
its larger versions scale neither stem nor head, nor the depth of the first and the last group.
"""

import dataclasses
import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.backbones.conv_norm import batch_norm
from abe_jax.models.backbones.depthwise import Depthwise
from abe_jax.models.backbones.layers import Conv
from abe_jax.models.backbones.stages import Options, Stage, staged


class Group(NamedTuple):
    """Blocks of one width one after the other; the first of them has the stride."""

    blocks: int
    size: int
    stride: int
    expansion: int
    features: int


# EfficientNet-B0's, table 1 of the paper.
LITE0 = (
    Group(blocks=1, size=3, stride=1, expansion=1, features=16),
    Group(blocks=2, size=3, stride=2, expansion=6, features=24),
    Group(blocks=2, size=5, stride=2, expansion=6, features=40),
    Group(blocks=3, size=3, stride=2, expansion=6, features=80),
    Group(blocks=3, size=5, stride=1, expansion=6, features=112),
    Group(blocks=4, size=5, stride=2, expansion=6, features=192),
    Group(blocks=1, size=3, stride=1, expansion=6, features=320),
)
# Table 2 of the paper.
MOBILENET_V2 = (
    Group(blocks=1, size=3, stride=1, expansion=1, features=16),
    Group(blocks=2, size=3, stride=2, expansion=6, features=24),
    Group(blocks=3, size=3, stride=2, expansion=6, features=32),
    Group(blocks=4, size=3, stride=2, expansion=6, features=64),
    Group(blocks=3, size=3, stride=1, expansion=6, features=96),
    Group(blocks=3, size=3, stride=2, expansion=6, features=160),
    Group(blocks=1, size=3, stride=1, expansion=6, features=320),
)
STEM, HEAD = 32, 1280


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """What all convolutions and normalisations of a network have in common."""

    same: bool  # TensorFlow's padding
    epsilon: float
    options: Options


class Unit(nn.Module):
    """A convolution, batch normalisation and a ReLU6; without `features`, a depthwise one."""

    size: int
    family: Family
    features: int | None = None
    stride: int = 1
    relu: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        options, same = self.family.options, self.family.same
        if self.features is None:
            conv = Depthwise(self.size, self.stride, same, options.dtype, name="conv")
        else:
            conv = Conv(
                self.features,
                self.size,
                stride=self.stride,
                same=same,
                use_bias=False,
                dtype=options.dtype,
                name="conv",
            )
        norm = batch_norm(options, epsilon=self.family.epsilon, name="norm")
        x = norm(conv(x), train)
        return nn.relu6(x) if self.relu else x


class Inverted(nn.Module):
    """Wider by a 1x1 convolution, a depthwise one, narrow again; added to the input if alike.

    A block that makes nothing wider has no first convolution, unless `always`.
    """

    features: int
    size: int
    expansion: int
    family: Family
    stride: int = 1
    always: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        unit = partial(Unit, family=self.family)
        start, channels = x, x.shape[-1]
        if self.expansion > 1 or self.always:
            x = unit(1, features=self.expansion * channels, name="expand")(x, train)
        x = unit(self.size, stride=self.stride, name="depthwise")(x, train)
        x = unit(1, features=self.features, relu=False, name="project")(x, train)
        return start + x if self.stride == 1 and self.features == channels else x


def _stages(
    groups: tuple[Group, ...],
    family: Family,
    stem: int = STEM,
    head: int = HEAD,
    always: bool = False,
) -> tuple[Stage, ...]:
    first = partial(Unit, size=3, features=stem, family=family)
    made = [staged("stem", first, stride=2)]
    for group in groups:
        for index in range(group.blocks):
            make = partial(
                Inverted,
                features=group.features,
                size=group.size,
                expansion=group.expansion,
                family=family,
                always=always,
            )
            stride = group.stride if index == 0 else 1
            made.append(staged(f"block{len(made) - 1}", make, stride))
    last = partial(Unit, size=1, features=head, family=family)
    return (*made, staged("head", last))


def _lite(options: Options, width: float, depth: float) -> tuple[Stage, ...]:
    first, *between, last = LITE0
    scaled = [group._replace(blocks=math.ceil(depth * group.blocks)) for group in between]
    groups = [
        group._replace(features=rounded(width * group.features)) for group in (first, *scaled, last)
    ]
    return _stages(tuple(groups), Family(same=True, epsilon=1e-3, options=options))


def rounded(channels: float) -> int:
    """The nearest multiple of 8 that is at most a tenth below `channels`, and at least 8."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def lite0(options: Options) -> tuple[Stage, ...]:
    """EfficientNet-Lite0, made for 224 px: stem, block0 .. block15, head (1280 channels)."""
    return _lite(options, width=1.0, depth=1.0)


def lite1(options: Options) -> tuple[Stage, ...]:
    """EfficientNet-Lite1, made for 240 px: stem, block0 .. block20, head."""
    return _lite(options, width=1.0, depth=1.1)


def lite2(options: Options) -> tuple[Stage, ...]:
    """EfficientNet-Lite2, made for 260 px: stem, block0 .. block20, head."""
    return _lite(options, width=1.1, depth=1.2)


def mobilenet_v2(options: Options) -> tuple[Stage, ...]:
    """MobileNetV2 as torchvision has it, for 224 px: stem, block0 .. block16, head."""
    return _mobilenet_v2(options, 1.0)


def mobilenet_v2_wide(options: Options) -> tuple[Stage, ...]:
    """MobileNetV2 1.4 as torchvision has it: 1.4 times the channels, 1792 behind the head."""
    return _mobilenet_v2(options, 1.4)


def _mobilenet_v2(options: Options, width: float) -> tuple[Stage, ...]:
    groups = [group._replace(features=rounded(width * group.features)) for group in MOBILENET_V2]
    family = Family(same=False, epsilon=1e-5, options=options)
    # A wider head and no narrower one: section 4 of the paper.
    head = rounded(HEAD * max(1.0, width))
    return _stages(tuple(groups), family, stem=rounded(width * STEM), head=head)


def mobilenet_v2_reid(options: Options) -> tuple[Stage, ...]:
    """MobileNetV2 1.4 as person re-identification has it, in torchreid and in MetaBIN's own code.

    Channels are 1.4 times the paper's, cut off to whole numbers and not rounded to multiples of 8,
    and the first block has a convolution that does not widen. 1792 channels behind the head.
    """
    groups = [group._replace(features=int(1.4 * group.features)) for group in MOBILENET_V2]
    family = Family(same=False, epsilon=1e-5, options=options)
    stem, head = int(1.4 * STEM), int(1.4 * HEAD)
    return _stages(tuple(groups), family, stem=stem, head=head, always=True)
