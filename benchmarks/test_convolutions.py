"""A CPU's convolutions of GoogLeNet, kernel by kernel, beside PyTorch's in channels-last.

    pytest benchmarks/test_convolutions.py
    pytest benchmarks/test_convolutions.py --full    a batch of 16

Forward, the gradient of the map and that of the kernel, in float32, as `models.backbones` computes
them. Says where a training step on a CPU is slower than PyTorch's, and by how much the gradient of
a kernel is faster as a sum of products (models/backbones/kernel_gradient.py) than as XLA's own.
"""

import os
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax import lax
from results import Table, number

from abe_jax.comparison import timing
from abe_jax.models.backbones import kernel_gradient

BATCH = {False: 2, True: 16}  # by --full
WAYS = ("forward", "of the map", "of the kernel")


class Layer(NamedTuple):
    """A convolution of GoogLeNet on images of 224 px."""

    name: str
    side: int
    channels: int
    features: int
    size: int
    stride: int = 1


LAYERS = (
    Layer("conv1", 224, 3, 64, 7, 2),
    Layer("conv2, reduce", 56, 64, 64, 1),
    Layer("conv2", 56, 64, 192, 3),
    Layer("inception3a, three_reduce", 28, 192, 96, 1),
    Layer("inception3b, three", 28, 128, 192, 3),
    Layer("inception3a, five", 28, 16, 32, 5),
    Layer("inception4a, three_reduce", 14, 480, 96, 1),
    Layer("inception4e, three", 14, 160, 320, 3),
    Layer("inception5b, three", 7, 192, 384, 3),
)


def inputs(layer: Layer, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random maps, kernel, and gradient of what they give."""
    rng = np.random.default_rng(layer.side)
    out = -(-layer.side // layer.stride)
    shapes = (
        (batch, layer.side, layer.side, layer.channels),
        (layer.size, layer.size, layer.channels, layer.features),
        (batch, out, out, layer.features),
    )
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)  # pyright: ignore


def ours(layer: Layer, x: Any, kernel: Any, g: Any) -> list[Callable[[], Any]]:
    """The three of JAX, compiled, in the order of WAYS."""
    half = (layer.size - 1) // 2
    zeros = (half, half)

    def convolved(x: Any, kernel: Any) -> jax.Array:
        if layer.size == 1:
            return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
        return kernel_gradient.convolved(x, kernel, layer.stride, (zeros, zeros))

    x, kernel, g = map(jax.device_put, (x, kernel, g))
    of_map = jax.jit(lambda x, k, g: jax.vjp(lambda x: convolved(x, k), x)[1](g)[0])
    of_kernel = jax.jit(lambda x, k, g: jax.vjp(lambda k: convolved(x, k), k)[1](g)[0])
    return [
        partial(jax.jit(convolved), x, kernel),
        partial(of_map, x, kernel, g),
        partial(of_kernel, x, kernel, g),
    ]


def theirs(layer: Layer, x: Any, kernel: Any, g: Any) -> list[Callable[[], Any]]:
    """The three of PyTorch."""
    import torch

    def last(array: np.ndarray, axes: tuple[int, ...]) -> Any:
        made = torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))
        return made.contiguous(memory_format=torch.channels_last)

    x, g = (last(array, (0, 3, 1, 2)) for array in (x, g))
    kernel, zeros, stride = last(kernel, (3, 2, 0, 1)), [(layer.size - 1) // 2] * 2, layer.stride

    def gradient(of: tuple[bool, bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            *(g, x, kernel, None, [stride] * 2, zeros, [1, 1], False, [0, 0], 1),
            [*of, False],
        )[of.index(True)]

    forward = partial(torch.nn.functional.conv2d, x, kernel, None, stride, zeros)
    return [forward, partial(gradient, (True, False)), partial(gradient, (False, True))]


def test_convolutions(full: bool, rounds: int, tables: list[Table]) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(os.cpu_count() or 1)
    rows = [row(layer, BATCH[full], rounds) for layer in LAYERS]
    head = ["convolution", "map", "kernel"]
    head += [f"{way}, {what}" for way in WAYS for what in ("ms", "time / PyTorch")]
    note = (
        f"Medians over {rounds} interleaved rounds, {torch.get_num_threads()} threads, float32; "
        f"PyTorch {torch.__version__} in channels-last. 1x1 convolutions are matrix products here. "
        "conv1's gradient of the map is that of the images, which no step computes."
    )
    title = f"Convolutions of GoogLeNet beside PyTorch's, batch {BATCH[full]}"
    tables.append(Table(title=title, note=note, head=head, rows=rows))


def row(layer: Layer, batch: int, rounds: int) -> list[str]:
    """A layer's times, after both sides are seen to compute the same."""
    arrays = inputs(layer, batch)
    both = ours(layer, *arrays), theirs(layer, *arrays)
    axes = ((0, 2, 3, 1), (0, 2, 3, 1), (2, 3, 1, 0))
    cells = [layer.name, f"{layer.side} x {layer.channels}"]
    cells.append(f"{layer.size} x {layer.size} x {layer.features}")
    for mine, other, order in zip(*both, axes, strict=True):
        expected = other().detach().numpy().transpose(order)
        np.testing.assert_allclose(mine(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        seconds = timing.interleaved({"ours": mine, "theirs": other}, rounds)
        own, its = seconds["ours"], seconds["theirs"]
        ratio = statistics.median([a / b for a, b in zip(own, its, strict=True)])
        cells += [number(1e3 * statistics.median(own)), f"{ratio:.2f}"]
    return cells


def test_kernel_gradients(full: bool, rounds: int, tables: list[Table]) -> None:
    """The sum of products beside XLA's own, on the layers whose maps are large and on one below."""
    rows = []
    for layer in (LAYERS[2], LAYERS[4]):
        x, kernel, g = map(jax.device_put, inputs(layer, BATCH[full]))
        arguments = {"stride": layer.stride, "padding": ((1, 1), (1, 1))}
        products = partial(kernel_gradient.products_of_windows, size=layer.size, **arguments)
        plain = partial(kernel_gradient.plain, **arguments)
        own = jax.jit(
            lambda x, g, plain=plain, kernel=kernel: jax.linear_transpose(
                lambda k: plain(x, k), kernel
            )(g)[0]
        )
        calls = {"sum": partial(jax.jit(products), x, g), "XLA": partial(own, x, g)}
        expected = np.asarray(calls["XLA"]())
        np.testing.assert_allclose(
            calls["sum"](), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
        )
        seconds = timing.interleaved(calls, rounds)
        ratios = [a / b for a, b in zip(seconds["sum"], seconds["XLA"], strict=True)]
        times = [number(1e3 * statistics.median(seconds[name])) for name in calls]
        rows.append([layer.name, *times, f"{statistics.median(ratios):.2f}"])
    note = f"Medians over {rounds} interleaved rounds; from 40 x 40 positions on the sum is taken."
    head = ("convolution", "sum of products, ms", "XLA's own, ms", "sum / XLA")
    title = f"Gradients of kernels on a CPU, batch {BATCH[full]}"
    tables.append(Table(title=title, note=note, head=head, rows=rows))
