"""Maximum pooling, two ways: slices for CPUs, kept places for GPUs.

Both give the same maxima, but for the sign of a zero. Their gradients differ where entries of a
window are equal: by slices they share it, by places the first of them, row by row, has all of it,
as in Caffe and PyTorch. Behind a ReLU most equal entries are zeros, which pass no gradient on
either way; in bfloat16 equal positive entries are not rare. A window with a NaN is NaN; by slices
no entry has its gradient, by places the last NaN.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from abe_jax import ways
from abe_jax.errors import ArgumentError

LARGEST = 11  # side of a window whose places a byte numbers, with its sign


class Windows(NamedTuple):
    """The windows along one axis of a map, and what is padded for them."""

    length: int  # of the map
    count: int
    before: int  # entries of padding
    after: int
    stride: int

    @property
    def span(self) -> int:
        """From the first entry of the first window to that of the last, both included."""
        return (self.count - 1) * self.stride + 1


def max_pool(
    x: Float[Array, "b h w c"], *, size: int, stride: int, pad: int = 0, ceil: bool = True
) -> Float[Array, "b i j c"]:
    """Maximum over square windows; `ceil`: windows over the map's far edge count, as in Caffe.

    Rows and columns are pooled one after the other by maxima of slices, because the gradient of
    XLA's own window maximum (select-and-scatter) is several times slower on CPU. Among equal
    entries the gradient is shared; after a ReLU those are zeros, whose gradient is zero anyway.
    On a GPU that makes some ten kernels of a pooling, and `by_places` two.
    """
    rows, columns = (
        _windows(length, size=size, stride=stride, pad=pad, ceil=ceil) for length in x.shape[1:3]
    )
    if size <= LARGEST and ways.taken("pooling"):
        return by_places(x, size, rows, columns)
    return _along(_along(x, 1, size, rows), 2, size, columns)


def _windows(length: int, *, size: int, stride: int, pad: int, ceil: bool) -> Windows:
    room = length + 2 * pad - size
    count = (-(-room // stride) if ceil else room // stride) + 1
    if count < 1:
        raise ArgumentError("size", f"too small, a map of side {length} cannot be pooled by {size}")
    if ceil and (count - 1) * stride >= length + pad:
        count -= 1  # Caffe drops a last window that would lie in the padding alone
    after = max((count - 1) * stride + size - length - pad, 0)
    return Windows(length, count, pad, after, stride)


def _along(x: Array, axis: int, size: int, windows: Windows) -> Array:
    """The maxima of windows along one axis."""
    lowest = jnp.array(-jnp.inf, x.dtype)
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (windows.before, windows.after, 0)
    x = jax.lax.pad(x, lowest, widths)
    span, stride = windows.span, windows.stride
    slices = [jax.lax.slice_in_dim(x, k, k + span, stride, axis) for k in range(size)]
    return functools.reduce(jnp.maximum, slices)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def by_places(
    x: Float[Array, "b h w c"], size: int, rows: Windows, columns: Windows
) -> Float[Array, "b i j c"]:
    """The maxima of windows; their places within the windows, a byte each, are what is kept.

    A gradient goes to the first entry of its window, row by row, that is the maximum, or to the
    last that is NaN. An entry's sum over the windows that it is in is made in float32, or wider.
    It cannot be differentiated forward (`jax.jvp`).

    Args:
        x: maps.
        size: of the square windows, at most LARGEST.
        rows: the windows along axis 1.
        columns: those along axis 2.
    """
    return _largest(x, size, rows, columns)[0]


def _largest(
    x: Array, size: int, rows: Windows, columns: Windows
) -> tuple[Array, Int8[Array, "b i j c"]]:
    """The maxima and their places, in one pass over slices that XLA makes one kernel."""
    lowest = jnp.array(-jnp.inf, x.dtype)
    around = [(0, 0, 0), *((axis.before, axis.after, 0) for axis in (rows, columns)), (0, 0, 0)]
    wide = jax.lax.pad(x, lowest, around)
    best = _entries(wide, 0, 0, rows, columns)
    argmax = jnp.zeros(best.shape, jnp.int8)
    for place, (i, j) in enumerate(itertools.product(range(size), repeat=2)):
        if place:
            entries = _entries(wide, i, j, rows, columns)
            above = (entries > best) | (entries != entries)  # a NaN is above all, and stays
            best = jnp.where(above, entries, best)
            argmax = jnp.where(above, jnp.int8(place), argmax)
    return best, argmax


def _entries(wide: Array, i: int, j: int, rows: Windows, columns: Windows) -> Array:
    """Entry (i, j) of every window of padded maps."""
    last = (len(wide), i + rows.span, j + columns.span, wide.shape[3])
    return jax.lax.slice(wide, (0, i, j, 0), last, (1, rows.stride, columns.stride, 1))


def _kept(x: Array, size: int, rows: Windows, columns: Windows) -> tuple[Array, Array]:
    return _largest(x, size, rows, columns)


def _to_places(size: int, rows: Windows, columns: Windows, argmax: Array, g: Array) -> tuple[Array]:
    """The gradient: for each place in a window, those of the windows whose maximum is there."""
    sums = jnp.dtype(jnp.float32) if g.dtype.itemsize < 4 else g.dtype
    nothing = jnp.zeros((), sums)
    parts = []
    for place, (i, j) in enumerate(itertools.product(range(size), repeat=2)):
        own = jnp.where(argmax == place, g, 0).astype(sums)
        around = [(0, 0, 0), _back(rows, i), _back(columns, j), (0, 0, 0)]
        parts.append(jax.lax.pad(own, nothing, around))
    return (functools.reduce(jnp.add, parts).astype(g.dtype),)


def _back(windows: Windows, k: int) -> tuple[int, int, int]:
    """The padding that puts entry k of every window where it was in the map."""
    before = k - windows.before  # below zero it cuts what came from the padding
    return before, windows.length - before - windows.span, windows.stride - 1


by_places.defvjp(_kept, _to_places)
