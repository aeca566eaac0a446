"""The layers that backbones are made of: convolution, pooling, local response normalisation."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError
from abe_jax.models.backbones.bias import biased
from abe_jax.models.backbones.convolution import convolution
from abe_jax.models.backbones.max_pooling import max_pool

HE = nn.initializers.he_normal()
GLOROT = nn.initializers.glorot_uniform()


Pads = tuple[int, int]  # zeros before an axis and behind it


def initial(module: nn.Module, init: nn.initializers.Initializer) -> nn.initializers.Initializer:
    """`init` where a module's parameters are made; where they are given, one that traces fast.

    Flax then asks the initializer for a shape and nothing else, which takes a He-normal one 2 ms.
    """
    return init if module.is_initializing() else nn.initializers.zeros


def pads(length: int, size: int, stride: int, *, same: bool) -> Pads:
    """The zero padding of an axis: (size - 1) // 2 on both sides, or TensorFlow's `SAME`.

    That makes ceil(length / stride) windows fit, total = max((ceil(length / stride) - 1) stride
    + size - length, 0), and puts the odd zero behind: before total // 2, behind the rest.
    """
    if not same:
        return (size - 1) // 2, (size - 1) // 2
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


class Conv(nn.Module):
    """A square convolution with bias, and a ReLU if asked for; zero padding as `pads` gives it.

    Parameters stay float32; the product is computed in `dtype`. Kernels start He-normal, which
    keeps the variance through ReLUs where no normalisation does; biases start at zero.
    """

    features: int
    size: int
    stride: int = 1
    same: bool = False  # TensorFlow's padding instead of the symmetric one
    use_bias: bool = True
    rectify: bool = False  # behind the bias
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = HE

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j k"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        init = initial(self, self.kernel_init)
        kernel = self.param("kernel", init, shape, jnp.float32).astype(self.dtype)
        if self.size == self.stride == 1:
            # As a matrix product: XLA's CPU gradient of a 1x1 convolution's kernel is far slower.
            x = jax.lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
        else:
            height, width = x.shape[1:3]
            rows = pads(height, self.size, self.stride, same=self.same)
            columns = pads(width, self.size, self.stride, same=self.same)
            x = convolution(x, kernel, self.stride, (rows, columns))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            return biased(x, bias, rectify=self.rectify)
        return nn.relu(x) if self.rectify else x


class BatchNorm(nn.Module):
    """Batch normalisation in float32, its statistics over all devices of `axis_name`.

    With `frozen` the running statistics are used, and kept, in training as well.
    """

    epsilon: float
    momentum: float = 0.9  # of the running statistics' past
    frozen: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        norm = nn.BatchNorm(
            use_running_average=self.frozen or not train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            axis_name=self.axis_name,
        )
        nn.share_scope(self, norm)
        return norm(x.astype(jnp.float32)).astype(self.dtype)


def average_pool(x: Float[Array, "b h w c"], *, size: int, stride: int) -> Float[Array, "b i j c"]:
    """Average over windows of size x size, summed in float32; as Caffe's without padding.

    The last window may go beyond the map's far edge, and is then the average of what is there. A
    window larger than the map is the whole map.
    """
    wide = x.astype(jnp.float32)
    for axis in (1, 2):
        wide = _average_pool_axis(wide, axis, size, stride)
    return wide.astype(x.dtype)


def _average_pool_axis(x: Array, axis: int, size: int, stride: int) -> Array:
    length = x.shape[axis]
    out = -(-max(length - size, 0) // stride) + 1
    span = (out - 1) * stride + 1
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, max(span + size - 1 - length, 0))
    padded = jnp.pad(x, widths)
    slices = [jax.lax.slice_in_dim(padded, k, k + span, stride, axis) for k in range(size)]
    inside = np.minimum(size, length - stride * np.arange(out)).astype(np.float32)
    shape = [1] * x.ndim
    shape[axis] = out
    return functools.reduce(jnp.add, slices) / inside.reshape(shape)


def mean_pool(x: Float[Array, "b h w c"], *, size: int) -> Float[Array, "b i j c"]:
    """Mean over windows of size x size that do not overlap; `size` divides the map's sides."""
    b, h, w, c = x.shape
    if not h or not w or h % size or w % size:
        raise ArgumentError(
            "size",
            f"a map of {h} x {w} cannot be pooled by {size} x {size}; "
            "the convnet takes multiples of 8",
        )
    return x.reshape(b, h // size, size, w // size, size, c).mean(axis=(2, 4))


def box_mean(x: Float[Array, "b h w c"], *, size: int) -> Float[Array, "b h w c"]:
    """Mean over the size x size window around every position, `size` odd, summed in float32.

    The divisor is size^2 at the edges too, where positions beyond them count as zeros: Caffe's
    average pooling at stride 1 with a padding of (size - 1) / 2.
    """
    wide = x.astype(jnp.float32)
    for axis in (1, 2):
        widths = [(0, 0)] * 4
        widths[axis] = (size // 2, size // 2)
        padded, length = jnp.pad(wide, widths), x.shape[axis]
        slices = [jax.lax.slice_in_dim(padded, k, k + length, axis=axis) for k in range(size)]
        wide = functools.reduce(jnp.add, slices)
    return (wide / size**2).astype(x.dtype)


class MaxPool(nn.Module):
    """A stage that pools by the maximum of windows at stride 2, 3x3 ones unless said."""

    size: int = 3
    pad: int = 0
    ceil: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j c"]:
        return max_pool(x, size=self.size, stride=2, pad=self.pad, ceil=self.ceil)


class MeanPool(nn.Module):
    """A stage that takes the mean of 2x2 windows; far cheaper than a maximum on CPU."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j c"]:
        return mean_pool(x, size=2)
