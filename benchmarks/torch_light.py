"""EfficientNet-Lite0 and ViT-S/16 in PyTorch as named stages, as torch_stages.py has the others."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch_stages import Stage

# Blocks, side, stride, expansion, channels of each group: EfficientNet-B0's, arXiv 1905.11946.
LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Unit(nn.Module):
    """A convolution with TensorFlow's padding, batch normalisation and a ReLU6."""

    def __init__(
        self, ins: int, outs: int, size: int, stride: int = 1, groups: int = 1, relu: bool = True
    ):
        super().__init__()
        self._size, self._stride, self._relu = size, stride, relu
        same = (size - 1) // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(ins, outs, size, stride, same, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        if self._stride > 1:
            x = F.pad(x, (*self._zeros(x.shape[3]), *self._zeros(x.shape[2])))
        x = self.norm(self.conv(x))
        return F.relu6(x) if self._relu else x

    def _zeros(self, length: int) -> tuple[int, int]:
        windows = math.ceil(length / self._stride)
        total = max((windows - 1) * self._stride + self._size - length, 0)
        return total // 2, total - total // 2


class Inverted(nn.Module):
    """Wider by a 1x1 convolution, a depthwise one, narrow again; added to the input if alike."""

    def __init__(self, ins: int, outs: int, size: int, expansion: int, stride: int = 1):
        super().__init__()
        wide = ins * expansion
        self._added = stride == 1 and ins == outs
        if expansion > 1:
            self.expand = Unit(ins, wide, 1)
        self.depthwise = Unit(wide, wide, size, stride, groups=wide)
        self.project = Unit(wide, outs, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x) if hasattr(self, "expand") else x
        y = self.project(self.depthwise(y))
        return x + y if self._added else y


def lite0(norm: str) -> list[Stage]:
    """EfficientNet-Lite0: no squeeze-and-excitation, ReLU6."""
    made = [Stage("stem", partial(Unit, 3, 32, 3, 2))]
    ins = 32
    for blocks, size, stride, expansion, outs in LITE0:
        for i in range(blocks):
            make = partial(Inverted, ins, outs, size, expansion)
            strided = stride > 1 and i == 0
            own = partial(make, stride) if strided else make
            name = f"block{len(made) - 1}"
            made.append(Stage(name, own, unstrided=make if strided else None))
            ins = outs
    return [*made, Stage("head", partial(Unit, ins, 1280, 1))]


PATCH, WIDTH, HIDDEN, HEADS, BLOCKS = 16, 384, 1536, 6, 12  # ViT-S/16


class Embed(nn.Module):
    """Images to tokens [b, t, c]: the class token, then the patches, with positions."""

    def __init__(self, size: int):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos = nn.Parameter(torch.zeros(1, 1 + (size // PATCH) ** 2, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.conv(x).flatten(2).transpose(1, 2)
        first = self.cls.to(patches.dtype).expand(len(x), 1, WIDTH)
        return torch.cat([first, patches], 1) + self.pos.to(patches.dtype)


class Block(nn.Module):
    """x + attention(norm1(x)), then x + fc2(gelu(fc1(norm2(x))))."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, t, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, WIDTH)
        x = x + self.proj(mixed)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


def vit_s16(size: int) -> list[Stage]:
    """ViT-S/16 for images of `size` px."""
    blocks = (Stage(f"block{i}", Block) for i in range(BLOCKS))
    norm = partial(nn.LayerNorm, WIDTH, eps=1e-6)
    return [Stage("embed", partial(Embed, size)), *blocks, Stage("norm", norm)]
