"""BN-Inception as in Caffe: double 3x3 branches, biases, batch normalisation.

Source: Ioffe and Szegedy, Batch normalization, ICML 2015, figure 5; the widths are those of the
network whose ImageNet weights are in use, which differ from some of the figure's.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError
from abe_jax.models.backbones.conv_norm import ConvNorm
from abe_jax.models.backbones.googlenet import Conv2, Unit
from abe_jax.models.backbones.layers import MaxPool, box_mean
from abe_jax.models.backbones.max_pooling import max_pool
from abe_jax.models.backbones.stages import Options, Stage, staged


class DoubleWidths(NamedTuple):
    """Channels of an inception stage's convolutions; 0: there is none."""

    one: int
    three_reduce: int
    three: int
    double_reduce: int
    double: int  # of both 3x3 convolutions of the double branch
    pool: int


INCEPTIONS = {
    "inception3a": DoubleWidths(64, 64, 64, 64, 96, 32),
    "inception3b": DoubleWidths(64, 64, 96, 64, 96, 64),
    "inception3c": DoubleWidths(0, 128, 160, 64, 96, 0),
    "inception4a": DoubleWidths(224, 64, 96, 96, 128, 128),
    "inception4b": DoubleWidths(192, 96, 128, 96, 128, 128),
    "inception4c": DoubleWidths(160, 128, 160, 128, 160, 128),
    "inception4d": DoubleWidths(96, 128, 192, 160, 192, 128),
    "inception4e": DoubleWidths(0, 128, 192, 192, 256, 0),
    "inception5a": DoubleWidths(352, 192, 320, 160, 224, 128),
    "inception5b": DoubleWidths(352, 192, 320, 192, 224, 128),
}
STRIDED = ("inception3c", "inception4e")
MAXIMA = (*STRIDED, "inception5b")  # where the pooled branch takes the maximum, not the mean


class DoubleInception(nn.Module):
    """Up to four branches joined over channels: 1x1, 3x3, two 3x3 in a row, and a pooled one.

    With stride 2 the last convolution of each branch and its pooling have the stride.
    """

    widths: DoubleWidths
    unit: Unit
    maximum: bool
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        unit, last, w = self.unit, partial(self.unit, stride=self.stride), self.widths
        _require_even(x.shape[1:3], self.stride)
        branches = [unit(w.one, 1, name="one")(x, train)] if w.one else []
        three = unit(w.three_reduce, 1, name="three_reduce")(x, train)
        branches.append(last(w.three, 3, name="three")(three, train))
        double = unit(w.double_reduce, 1, name="double_reduce")(x, train)
        double = unit(w.double, 3, name="double_one")(double, train)
        branches.append(last(w.double, 3, name="double_two")(double, train))
        pool = self._pool(x)
        branches.append(unit(w.pool, 1, name="pool")(pool, train) if w.pool else pool)
        return jnp.concatenate(branches, axis=-1)

    def _pool(self, x: Array) -> Array:
        if not self.maximum:
            return box_mean(x, size=3)
        # Strided, Caffe's pooling has no padding: it rounds the far edge up instead.
        pad = 1 if self.stride == 1 else 0
        return max_pool(x, size=3, stride=self.stride, pad=pad)


def _require_even(sides: tuple[int, ...], stride: int) -> None:
    """Of an odd side, the strided convolutions make one position more than the pooling."""
    if stride == 2 and (sides[0] % 2 or sides[1] % 2):
        raise ArgumentError(
            "size",
            f"BN-Inception cannot halve a map of {sides[0]} x {sides[1]}; multiples of 32 fit",
        )


def stages(options: Options) -> tuple[Stage, ...]:
    """The stages conv1, pool1, conv2, pool2, inception3a .. 3c, 4a .. 4e, 5a and 5b.

    3c and 4e halve the map's sides themselves. At 224 px the last map is 7 x 7 x 1024.
    """
    unit = partial(ConvNorm, options=options, epsilon=1e-5, use_bias=True)
    made = [
        staged("conv1", partial(unit, features=64, size=7), stride=2),
        Stage(name="pool1", make=MaxPool, stride=2, pooling=True),
        Stage(name="conv2", make=partial(Conv2, unit=unit)),
        Stage(name="pool2", make=MaxPool, stride=2, pooling=True),
    ]
    for name, widths in INCEPTIONS.items():
        make = partial(DoubleInception, widths=widths, unit=unit, maximum=name in MAXIMA)
        made.append(staged(name, make, stride=2 if name in STRIDED else 1))
    return tuple(made)
