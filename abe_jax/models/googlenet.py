"""GoogLeNet v1 as in Caffe: no batch normalisation, biases, 5x5 branches (Szegedy et al., 2015)."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.models.layers import Conv, MaxPool, local_response, max_pool
from abe_jax.models.stages import Options, Stage

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
POOLED_AFTER = {"inception3b": "pool3", "inception4e": "pool4"}


class Conv1(nn.Module):
    """The 7x7 convolution at stride 2 on the image."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j 64"]:
        return nn.relu(Conv(64, 7, stride=2, dtype=self.dtype, name="conv")(x))


class Conv2(nn.Module):
    """A 1x1 and a 3x3 convolution; Caffe's two response normalisations stand at its ends."""

    lrn: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w 192"]:
        x = local_response(x) if self.lrn else x
        x = nn.relu(Conv(64, 1, dtype=self.dtype, name="reduce")(x))
        x = nn.relu(Conv(192, 3, dtype=self.dtype, name="conv")(x))
        return local_response(x) if self.lrn else x


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, 5x5 and a pooled 1x1, joined over channels."""

    widths: Widths
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w k"]:
        conv = partial(Conv, dtype=self.dtype)
        w = self.widths
        one = conv(w.one, 1, name="one")(x)
        three = nn.relu(conv(w.three_reduce, 1, name="three_reduce")(x))
        three = conv(w.three, 3, name="three")(three)
        five = nn.relu(conv(w.five_reduce, 1, name="five_reduce")(x))
        five = conv(w.five, 5, name="five")(five)
        pool = conv(w.pool, 1, name="pool")(max_pool(x, size=3, stride=1, pad=1))
        return nn.relu(jnp.concatenate([one, three, five, pool], axis=-1))


def stages(options: Options) -> tuple[Stage, ...]:
    """The stages conv1, pool1, conv2, pool2, inception3a .. 5b with pool3 and pool4 between."""
    lrn, dtype = options.norm == "lrn", options.dtype
    found = [
        Stage(name="conv1", make=partial(Conv1, dtype=dtype), stride=2),
        Stage(name="pool1", make=MaxPool, stride=2, pooling=True),
        Stage(name="conv2", make=partial(Conv2, lrn=lrn, dtype=dtype)),
        Stage(name="pool2", make=MaxPool, stride=2, pooling=True),
    ]
    for name, widths in INCEPTIONS.items():
        found.append(Stage(name=name, make=partial(Inception, widths=widths, dtype=dtype)))
        if name in POOLED_AFTER:
            found.append(Stage(name=POOLED_AFTER[name], make=MaxPool, stride=2, pooling=True))
    return tuple(found)
