"""A convolution whose kernel's gradient is, on a CPU and of large maps, a sum of matrix products.

XLA writes that gradient as a convolution of the images with a window as large as the map they give.
On a CPU its library computes windows of 56 x 56 at a quarter of the speed at which it multiplies
matrices; those of 28 x 28 and less, few channels, and all on other platforms it does well
(`benchmarks/test_convolutions.py`). The sum takes longer to compile, and is of no use elsewhere.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Padding = tuple[tuple[int, int], tuple[int, int]]  # zeros (above, below), (left, right)

LARGE = 40 * 40  # positions of a map and channels of it, from where on the sum is faster
CHANNELS = 16
AT_ONCE = 2**21  # bytes of windows that one product takes, which stay in a core's cache


def convolved(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c f"], stride: int, padding: Padding
) -> Float[Array, "b i j f"]:
    """The convolution of maps with a square kernel.

    The gradient of the kernel is rounded otherwise than XLA's own where it is a sum of products. A
    convolution of large maps cannot be differentiated forward (`jax.jvp`).

    Args:
        x: maps.
        kernel: in the type of `x`.
        stride: of both sides.
        padding: rows and columns of zeros.
    """
    height, width = (
        (length + sum(zeros) - kernel.shape[0]) // stride + 1
        for length, zeros in zip(x.shape[1:3], padding, strict=True)
    )
    large = height * width >= LARGE and x.shape[-1] >= CHANNELS
    summed = large and x.dtype == jnp.float32
    return (_summed if summed else plain)(x, kernel, stride, padding)


def plain(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c f"], stride: int, padding: Padding
) -> Float[Array, "b i j f"]:
    """The convolution with XLA's own gradients."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _summed(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    return plain(x, kernel, stride, padding)


def _kept(x: Array, kernel: Array, stride: int, padding: Padding) -> tuple[Array, Any]:
    return plain(x, kernel, stride, padding), (x, kernel)


def _gradients(stride: int, padding: Padding, kept: Any, g: Array) -> tuple[Array, Array]:
    x, kernel = kept
    own = functools.partial(plain, stride=stride, padding=padding)
    (to_x,) = jax.linear_transpose(lambda x: own(x, kernel), x)(g)
    to_kernel = lax.platform_dependent(
        x,
        g,
        cpu=functools.partial(
            products_of_windows, size=kernel.shape[0], stride=stride, padding=padding
        ),
        default=lambda x, g: jax.linear_transpose(lambda k: own(x, k), kernel)(g)[0],
    )
    return to_x, to_kernel


_summed.defvjp(_kept, _gradients)


def products_of_windows(
    x: Float[Array, "b h w c"],
    g: Float[Array, "b i j f"],
    *,
    size: int,
    stride: int,
    padding: Padding,
) -> Float[Array, "k k c f"]:
    """The gradient of a kernel: sum over positions of (the window of x there)^T g.

    Rows of one image at a time, whose windows are written side by side.

    Args:
        x: the maps that were convolved.
        g: the gradient of what that gave.
        size: of the kernel, k.
        stride: of both sides.
        padding: rows and columns of zeros.
    """
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    (images, height, width, features), channels = g.shape, x.shape[-1]
    rows = _rows_at_once(height, 4 * width * size * size * channels)
    blocks = height // rows
    span, across = (rows - 1) * stride + size, (width - 1) * stride + 1

    def added(total: Array, number: Array) -> tuple[Array, None]:
        image, first = number // blocks, number % blocks * rows
        seen = lax.dynamic_slice(
            padded, (image, first * stride, 0, 0), (1, span, padded.shape[2], channels)
        )[0]
        windows = jnp.concatenate(
            [
                seen[i : i + (rows - 1) * stride + 1 : stride, j : j + across : stride]
                for i in range(size)
                for j in range(size)
            ],
            axis=-1,
        )
        of_g = lax.dynamic_slice(g, (image, first, 0, 0), (1, rows, width, features))
        product = lax.dot_general(
            windows.reshape(rows * width, -1),
            of_g.reshape(rows * width, features),
            (((0,), (0,)), ((), ())),
        )
        return total + product, None

    zero = jnp.zeros((size * size * channels, features), g.dtype)
    total, _ = lax.scan(added, zero, jnp.arange(images * blocks))
    return total.reshape(size, size, channels, features)


def _rows_at_once(height: int, row: int) -> int:
    """The most rows of so many bytes, by which the height divides, within AT_ONCE; at least one."""
    return max(
        n for n in range(1, height + 1) if height % n == 0 and (n == 1 or n * row <= AT_ONCE)
    )
