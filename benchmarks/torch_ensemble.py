"""Single heads, M heads and ABE-M in PyTorch, for comparison.

Written from the formulas that abe_jax states (models/ensemble.py); a network is made of
the same facts as ours, which gpu_jax.py tells.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch_light
import torch_stages
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch_losses import Facts
from torch_stages import Stage


def backbone(facts: Facts) -> list[Stage]:
    """The stages of the backbone, from the image to the last map."""
    if facts.backbone == "convnet":
        return torch_stages.convnet(facts.norm, facts.channels, facts.width)
    if facts.backbone == "vit_s16":
        return torch_light.vit_s16(facts.size)
    known = {
        "googlenet": torch_stages.googlenet,
        "resnet18": torch_stages.resnet18,
        "resnet50": torch_stages.resnet50,
        "efficientnet_lite0": torch_light.lite0,
    }
    return known[facts.backbone](facts.norm)


def _sequence(stages: Sequence[Stage]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((stage.name, stage.make()) for stage in stages))


def _trunk(decoder: Sequence[Stage], depth: int) -> nn.Sequential:
    """The first stages of a decoder without poolings and strides: a mask has its map's size."""
    chosen = [stage for stage in decoder if not stage.pooling][:depth]
    return _sequence([s._replace(make=s.unstrided or s.make) for s in chosen])


class Network(nn.Module):
    """Images [b, c, h, w] in [0, 255] -> features [b, m, c] and vectors [b, m, d], float32."""

    def __init__(self, facts: Facts):
        super().__init__()
        self.facts = facts
        stages, m = backbone(facts), facts.learners
        after = [stage.name for stage in stages].index(facts.branch) + 1
        rest = stages[after:]
        self.encoder = _sequence(stages[:after])
        if facts.kind == "heads":
            self.decoder = nn.ModuleDict({f"head{i}": _sequence(rest) for i in range(m)})
        else:
            self.decoder = _sequence(rest)
        with torch.no_grad():
            self._make_heads(rest)
        for name, values in (("mean", facts.mean or (0.0,)), ("std", facts.std or (1.0,))):
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)

    def _make_heads(self, rest: Sequence[Stage]) -> None:
        """Masks and fully connected layers, whose inputs' widths a blank image tells."""
        facts, m = self.facts, self.facts.learners
        self.eval()
        blank = torch.zeros(2, facts.channels, facts.size, facts.size)
        cut = self.encoder(blank)
        at = 2 if cut.ndim == 3 else 1  # the axis of channels: tokens are [b, t, c]
        if facts.kind == "attention":
            self.trunk = _trunk(rest, facts.trunk_depth)
            self.trunk.eval()
            ins, outs = self.trunk(cut).shape[at], m * cut.shape[at]
            conv = nn.Linear(ins, outs) if at == 2 else nn.Conv2d(ins, outs, 1)
            self.mask_heads = nn.ModuleDict({"conv": conv})
        last = self.decoder["head0"] if isinstance(self.decoder, nn.ModuleDict) else self.decoder
        wide = last(cut).shape[at]
        if facts.head != "none":
            count = m if facts.kind == "heads" else 1
            self.head = Heads(count, wide, facts.dim // m, facts.head == "linear")
        self.train()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        facts, m = self.facts, self.facts.learners
        with torch.autocast(images.device.type, torch.bfloat16, facts.compute == "bfloat16"):
            s = self.encoder((images - self.get_buffer("mean")) / self.get_buffer("std"))
            if facts.kind == "attention":
                maps = self.decoder(self._masked(s))
            elif isinstance(self.decoder, nn.ModuleDict):
                maps = torch.stack([decoder(s) for decoder in self.decoder.values()], 1).flatten(
                    0, 1
                )
            else:
                maps = self.decoder(s)
        features = pooled(maps.float(), facts).unflatten(0, (-1, m))
        if facts.layer_norm:
            features = F.layer_norm(features, features.shape[-1:], eps=1e-5)
        x = features if facts.head == "none" else self.head(features)
        return x, F.normalize(x, dim=-1)

    def _masked(self, s: Tensor) -> Tensor:
        """S(x) * A_m(S(x)), learners as images: [b * m, ...] of the map's own layout."""
        m = self.facts.learners
        masks = torch.sigmoid(self.mask_heads["conv"](self.trunk(s)))
        if s.ndim == 3:
            masks = masks.unflatten(2, (m, -1)).transpose(1, 2)  # [b, m, t, c]
            return (s[:, None] * masks).flatten(0, 1)
        y = (s[:, None] * masks.unflatten(1, (m, -1))).flatten(0, 1)
        return y.contiguous(memory_format=torch.channels_last)


class Heads(nn.Module):
    """The fully connected layer: one for all learners, or one for each."""

    def __init__(self, count: int, ins: int, outs: int, bias: bool):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(count, ins, outs) * ins**-0.5)
        self.bias = nn.Parameter(torch.zeros(count, outs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.expand(x.shape[1], -1, -1)
        y = torch.einsum("bmc,mcd->bmd", x, kernel)
        return y if self.bias is None else y + self.bias


def pooled(maps: Tensor, facts: Facts) -> Tensor:
    """Maps [n, c, h, w], or tokens [n, t, c], to [n, c]."""
    if maps.ndim == 3:
        return maps[:, 0] if facts.pooling == "token" else maps[:, 1:].mean(1)
    if facts.pooling == "gem":
        return maps.clamp(min=1e-6).pow(facts.gem_p).mean((2, 3)).pow(1 / facts.gem_p)
    return maps.mean((2, 3))
