"""Backbones in PyTorch as named stages, for comparison: the same work under the same names.

Written from the papers' tables and our own stages: a parameter has the path here that it has in
abe_jax.models, so that weights of one network fit the other (test_torch_networks.py).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Stage(NamedTuple):
    """A named piece of a network: what makes its module, and that without its stride."""

    name: str
    make: Callable[[], nn.Module]
    pooling: bool = False
    unstrided: Callable[[], nn.Module] | None = None


class MaxPool(nn.Module):
    """3x3 windows at stride 2; `ceil`: those over the far edge count."""

    def __init__(self, pad: int = 0, ceil: bool = True):
        super().__init__()
        self._pad, self._ceil = pad, ceil

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, self._pad, ceil_mode=self._ceil)


def conv(ins: int, outs: int, size: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution with zeros of half its size on all sides."""
    return nn.Conv2d(ins, outs, size, stride, (size - 1) // 2, bias=bias)


class Rectified(nn.Module):
    """A convolution, batch normalisation where `norm` says so, and a ReLU."""

    def __init__(self, ins: int, outs: int, size: int, stride: int = 1, norm: bool = False):
        super().__init__()
        self.conv = conv(ins, outs, size, stride, bias=not norm)
        self.norm = nn.BatchNorm2d(outs, eps=1e-5) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def local_response(x: Tensor) -> Tensor:
    """Caffe's normalisation across channels with GoogLeNet's numbers."""
    return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)


class Conv2(nn.Module):
    """GoogLeNet's second stage, with both of its response normalisations or none."""

    def __init__(self, lrn: bool):
        super().__init__()
        self._lrn = lrn
        self.reduce, self.conv = conv(64, 64, 1), conv(64, 192, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = local_response(x) if self._lrn else x
        x = F.relu(self.conv(F.relu(self.reduce(x))))
        return local_response(x) if self._lrn else x


class Inception(nn.Module):
    """1x1, 3x3, 5x5 and a pooled 1x1 side by side; widths as in the paper's table."""

    def __init__(self, ins: int, widths: tuple[int, ...]):
        super().__init__()
        one, three_reduce, three, five_reduce, five, pool = widths
        self.one = conv(ins, one, 1)
        self.three_reduce, self.three = conv(ins, three_reduce, 1), conv(three_reduce, three, 3)
        self.five_reduce, self.five = conv(ins, five_reduce, 1), conv(five_reduce, five, 5)
        self.pool = conv(ins, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = F.relu(self.three(F.relu(self.three_reduce(x))))
        five = F.relu(self.five(F.relu(self.five_reduce(x))))
        pool = F.relu(self.pool(F.max_pool2d(x, 3, 1, 1)))
        return torch.cat([F.relu(self.one(x)), three, five, pool], 1)


INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(norm: str) -> list[Stage]:
    """GoogLeNet v1 (Szegedy et al., 2015) as in Caffe, `norm` none or lrn."""
    made = [
        Stage("conv1", partial(Rectified, 3, 64, 7, 2)),
        Stage("pool1", MaxPool, pooling=True),
        Stage("conv2", partial(Conv2, norm == "lrn")),
        Stage("pool2", MaxPool, pooling=True),
    ]
    ins = 192
    for name, widths in INCEPTIONS.items():
        made.append(Stage(f"inception{name}", partial(Inception, ins, widths)))
        ins = widths[0] + widths[2] + widths[4] + widths[5]
        if name in ("3b", "4e"):
            made.append(Stage({"3b": "pool3", "4e": "pool4"}[name], MaxPool, pooling=True))
    return made


class Residual(nn.Module):
    """Convolutions with batch normalisation, added to the input or to a 1x1 convolution of it."""

    def __init__(self, ins: int, shape: tuple[tuple[int, int], ...], stride: int = 1):
        super().__init__()
        start, left = ins, stride
        self._count = len(shape)
        for i, (outs, size) in enumerate(shape, start=1):
            own = left if size == 3 else 1
            left //= own
            setattr(self, f"conv{i}", conv(ins, outs, size, own, bias=False))
            setattr(self, f"norm{i}", nn.BatchNorm2d(outs, eps=1e-5))
            ins = outs
        self._fitted = stride > 1 or start != ins
        if self._fitted:
            self.shortcut_conv = nn.Conv2d(start, ins, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(ins, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        start = x
        for i in range(1, self._count + 1):
            x = F.relu(x) if i > 1 else x
            x = getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x))
        if self._fitted:
            start = self.shortcut_norm(self.shortcut_conv(start))
        return F.relu(start + x)


def _resnet(depths: tuple[int, ...], wide: int) -> list[Stage]:
    made = [
        Stage("conv1", partial(Rectified, 3, 64, 7, 2, norm=True)),
        Stage("pool1", partial(MaxPool, 1, False), pooling=True),
    ]
    ins = 64
    for group, (width, depth) in enumerate(zip((64, 128, 256, 512), depths, strict=True), start=1):
        shape = ((width, 3), (width, 3)) if wide == 1 else ((width, 1), (width, 3), (4 * width, 1))
        for i in range(depth):
            make = partial(Residual, ins, shape)
            strided = group > 1 and i == 0
            own = partial(make, 2) if strided else make
            made.append(Stage(f"block{group}_{i}", own, unstrided=make if strided else None))
            ins = wide * width
    return made


def resnet18(norm: str) -> list[Stage]:
    """ResNet-18 (arXiv 1512.03385)."""
    return _resnet((2, 2, 2, 2), 1)


def resnet50(norm: str) -> list[Stage]:
    """ResNet-50 (arXiv 1512.03385), a bottleneck's stride on its 3x3 convolution."""
    return _resnet((3, 4, 6, 3), 4)


class MeanPool(nn.Module):
    """The mean of 2x2 windows."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)


def convnet(norm: str, channels: int, width: int) -> list[Stage]:
    """The small backbone of the quickstart, `norm` none or batch."""

    def unit(name: str, ins: int, outs: int, size: int = 3, stride: int = 1) -> Stage:
        make = partial(Rectified, ins, outs, size, norm=norm == "batch")
        return Stage(name, partial(make, stride=stride), unstrided=make if stride > 1 else None)

    return [
        unit("conv1", channels, width, 5, 2),
        unit("conv2", width, width),
        Stage("pool2", MeanPool, pooling=True),
        unit("conv3", width, 2 * width),
        unit("conv4", 2 * width, 2 * width),
        Stage("pool4", MeanPool, pooling=True),
        unit("conv5", 2 * width, 4 * width),
        unit("conv6", 4 * width, 4 * width),
    ]
