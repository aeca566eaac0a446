"""The losses of benchmarks/gpu.py's arms in PyTorch, and what a network there is told of itself.

Written from the formulas that abe_jax states (losses/). What differs is said where it does.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a network, its losses and its batch are: fields of a config of ours, by its names."""

    backbone: str
    norm: str
    kind: str  # single | heads | attention
    learners: int
    dim: int
    branch: str
    trunk_depth: int
    pooling: str  # average | gem | token
    gem_p: float
    layer_norm: bool
    head: str  # linear | projection | none
    width: int
    compute: str
    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    batch: int
    copies: int
    objective: tuple[dict[str, Any], ...]
    rate: float
    momentum: float
    weight_decay: float
    clip: float


class Losses(nn.Module):
    """The sum of a config's losses, with what they learn.

    `margin` takes every negative, where ours may draw some: PyTorch has less to do there.
    """

    def __init__(self, facts: Facts):
        super().__init__()
        self.terms = facts.objective
        names, m, d = {term["name"] for term in self.terms}, facts.learners, facts.dim
        shape = m, facts.classes, d // m
        if "norm_softmax" in names:
            self.proxies = nn.Parameter((torch.rand(shape) * 2 - 1) * shape[2] ** -0.5)
        if "cross_entropy" in names:
            self.kernel = nn.Parameter(torch.randn(m, shape[2], shape[1]) * shape[2] ** -0.5)
            self.bias = nn.Parameter(torch.zeros(m, shape[1]))
        if "margin" in names:
            self.beta = nn.Parameter(torch.zeros(m))

    def forward(self, x: Tensor, z: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """Of numbers before L2 [b, m, d], vectors [b, m, d], classes and instances [b]."""
        total = z.new_zeros(())
        for term in self.terms:
            total = total + term["weight"] * self._term(term, x, z, labels, ids)
        return total

    def _term(
        self, term: Mapping[str, Any], x: Tensor, z: Tensor, labels: Tensor, ids: Tensor
    ) -> Tensor:
        name = term["name"]
        if name == "contrastive":
            return contrastive(z, labels, term["margin"])
        if name == "divergence":
            return divergence(z, term["margin"])
        if name == "norm_softmax":
            cosines = torch.einsum("bmd,mcd->mbc", z, F.normalize(self.proxies, dim=-1))
            return _cross_entropy(cosines / term["temperature"], labels)
        if name == "cross_entropy":
            logits = torch.einsum("bmd,mdc->mbc", x, self.kernel) + self.bias[:, None]
            return _cross_entropy(logits, labels)
        if name == "margin":
            own = ids if term["label"] == "instance" else labels
            return margin(z, own, self.beta, term["margin"])
        raise ValueError(f"no loss {name!r} here")


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of [m, b, c]: the mean over images, summed over learners."""
    return sum((F.cross_entropy(one, labels) for one in logits), logits.new_zeros(()))


def _squares(z: Tensor) -> Tensor:
    """[m, b, b] squared distances of unit vectors [b, m, d]."""
    u = z.transpose(0, 1)
    return (2 - 2 * u @ u.transpose(1, 2)).clamp(min=0)


def contrastive(z: Tensor, labels: Tensor, width: float) -> Tensor:
    """ABE-M's with squared distances, a mean over positives and one over negatives inside."""
    squares, same = _squares(z), labels[:, None] == labels[None]
    upper = torch.ones_like(same).triu(1)
    positive, hinges = same & upper, F.relu(width - squares)
    inside = (~same & upper)[None] & (hinges > 0)
    near = (squares * positive).sum((1, 2)) / positive.sum().clamp(min=1)
    far = (hinges * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    return (near + far).sum()


def divergence(z: Tensor, width: float) -> Tensor:
    """The mean over images and pairs of learners of [margin - D^2]_+."""
    m = z.shape[1]
    if m < 2:
        return z.new_zeros(())
    p, q = torch.triu_indices(m, m, 1, device=z.device)
    return F.relu(width - (z[:, p] - z[:, q]).square().sum(-1)).mean()


def margin(z: Tensor, labels: Tensor, beta: Tensor, width: float) -> Tensor:
    """Wu et al.'s over all ordered pairs."""
    away = _squares(z).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    other = ~torch.eye(len(labels), dtype=torch.bool, device=z.device)
    inner = F.relu(away - beta[:, None, None] + width) * (same & other)
    outer = F.relu(beta[:, None, None] - away + width) * ~same
    active = (inner > 0).sum((1, 2)) + (outer > 0).sum((1, 2))
    return ((inner.sum((1, 2)) + outer.sum((1, 2))) / active.clamp(min=1)).sum()
