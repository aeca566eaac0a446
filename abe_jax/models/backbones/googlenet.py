"""GoogLeNet v1 as in Caffe: no batch normalisation, biases, 5x5 branches (Szegedy et al., 2015)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax import ways
from abe_jax.models.backbones.layers import Conv, MaxPool
from abe_jax.models.backbones.max_pooling import max_pool
from abe_jax.models.backbones.response import local_response
from abe_jax.models.backbones.siblings import rectified_siblings
from abe_jax.models.backbones.stages import Options, Stage

NORMS = ("none", "lrn")


class Widths(NamedTuple):
    """Channels of an inception stage's convolutions."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


INCEPTIONS = {
    "inception3a": Widths(64, 96, 128, 16, 32, 32),
    "inception3b": Widths(128, 128, 192, 32, 96, 64),
    "inception4a": Widths(192, 96, 208, 16, 48, 64),
    "inception4b": Widths(160, 112, 224, 24, 64, 64),
    "inception4c": Widths(128, 128, 256, 24, 64, 64),
    "inception4d": Widths(112, 144, 288, 32, 64, 64),
    "inception4e": Widths(256, 160, 320, 32, 128, 128),
    "inception5a": Widths(256, 160, 320, 32, 128, 128),
    "inception5b": Widths(384, 192, 384, 48, 128, 128),
}


# `Unit(features, size, name=...)` gives a convolution with its ReLU, called with (x, train).
Unit = Callable[..., Callable[[Array, bool], Array]]
# `siblings(x, {name: features})` gives what 1x1 units of these names make of x, by name.
Siblings = Callable[[Array, dict[str, int]], dict[str, Array]]


def rectified(features: int, size: int, *, name: str, dtype: Any) -> Callable[[Array, bool], Array]:
    """A convolution and a ReLU, called with (x, train) as units that normalise are."""
    conv = Conv(features, size, rectify=True, dtype=dtype, name=name)
    return lambda x, train: conv(x)


class Conv1(nn.Module):
    """The 7x7 convolution at stride 2 on the image."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j 64"]:
        return Conv(64, 7, stride=2, rectify=True, dtype=self.dtype, name="conv")(x)


class Conv2(nn.Module):
    """A 1x1 and a 3x3 convolution; Caffe's two response normalisations stand at its ends."""

    unit: Unit
    lrn: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w 192"]:
        x = local_response(x) if self.lrn else x
        x = self.unit(64, 1, name="reduce")(x, train)
        x = self.unit(192, 3, name="conv")(x, train)
        return local_response(x) if self.lrn else x


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, 5x5 and a pooled 1x1, joined over channels."""

    widths: Widths
    unit: Unit
    five: int = 5  # the true size of the "5x5" convolution
    siblings: Siblings | None = None  # of what units make together; None: of nothing

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w k"]:
        unit, w = self.unit, self.widths
        together = {}
        if self.siblings is not None and ways.taken("siblings"):
            names = ("one", "three_reduce", "five_reduce")
            together = self.siblings(x, {name: getattr(w, name) for name in names})

        def first(name: str) -> Array:
            made = together.get(name)
            return unit(getattr(w, name), 1, name=name)(x, train) if made is None else made

        one = first("one")
        three = unit(w.three, 3, name="three")(first("three_reduce"), train)
        five = unit(w.five, self.five, name="five")(first("five_reduce"), train)
        pool = unit(w.pool, 1, name="pool")(max_pool(x, size=3, stride=1, pad=1), train)
        return jnp.concatenate([one, three, five, pool], axis=-1)


def stages(options: Options) -> tuple[Stage, ...]:
    """The stages conv1, pool1, conv2, pool2, inception3a .. 5b with pool3 and pool4 between."""
    unit = partial(rectified, dtype=options.dtype)
    return assembled(
        partial(Conv1, dtype=options.dtype),
        partial(Conv2, unit=unit, lrn=options.norm == "lrn"),
        partial(Inception, unit=unit, siblings=partial(rectified_siblings, dtype=options.dtype)),
    )


def assembled(
    conv1: Callable[..., nn.Module],
    conv2: Callable[..., nn.Module],
    inception: Callable[..., nn.Module],
    pool4: Callable[..., nn.Module] = MaxPool,
) -> tuple[Stage, ...]:
    """GoogLeNet's stages from the makers of its pieces; `inception` also takes `widths`."""
    made = [
        Stage(name="conv1", make=conv1, stride=2),
        Stage(name="pool1", make=MaxPool, stride=2, pooling=True),
        Stage(name="conv2", make=conv2),
        Stage(name="pool2", make=MaxPool, stride=2, pooling=True),
    ]
    pools = {"inception3b": ("pool3", MaxPool), "inception4e": ("pool4", pool4)}
    for name, widths in INCEPTIONS.items():
        made.append(Stage(name=name, make=partial(inception, widths=widths)))
        if name in pools:
            pool, make = pools[name]
            made.append(Stage(name=pool, make=make, stride=2, pooling=True))
    return tuple(made)
