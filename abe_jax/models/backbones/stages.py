"""A backbone is a tuple of named stages that can be cut behind each but the last."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError, require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A named piece of a backbone: `make(name=...)` gives its module, called with (x, train)."""

    name: str
    make: Callable[..., nn.Module]
    stride: int = 1
    pooling: bool = False  # only makes the map smaller: the attention trunk leaves it out
    # Of a stage with a stride: the module of the same parameters without it, for the trunk.
    unstrided: Callable[..., nn.Module] | None = None


def staged(name: str, make: Callable[..., nn.Module], stride: int = 1) -> Stage:
    """A stage whose module takes `stride`, 1 unless it is said."""
    if stride == 1:
        return Stage(name=name, make=make)
    return Stage(name=name, make=partial(make, stride=stride), stride=stride, unstrided=make)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a backbone's stages are built with."""

    norm: str  # one of the backbone's NORMS
    dtype: Any = jnp.float32
    axis_name: str | None = None  # over which batch normalisation gathers its statistics
    freeze_norm: bool = False
    width: int = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """A backbone cut in two, and the stages that the attention trunk copies."""

    encoder: tuple[Stage, ...]
    trunk: tuple[Stage, ...]
    decoder: tuple[Stage, ...]

    @property
    def candidates(self) -> tuple[Stage, ...]:
        """What the trunk can copy."""
        return tuple(stage for stage in self.decoder if not stage.pooling)


class Stages(nn.Module):
    """Runs stages one after the other: [b, h, w, c] -> [b, h', w', c']."""

    stages: tuple[Stage, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        for stage in self.stages:
            x = stage.make(name=stage.name)(x, train)
        return x


class StageMaps(nn.Module):
    """Runs stages one after the other and gives the map of each by its name, in their order."""

    stages: tuple[Stage, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> dict[str, Array]:
        maps = {}
        for stage in self.stages:
            maps[stage.name] = x = stage.make(name=stage.name)(x, train)
        return maps


def cut(stages: tuple[Stage, ...], branch: str) -> Cut:
    """Cuts after the stage `branch`; the trunk is empty until `with_trunk` gives it stages."""
    names = [stage.name for stage in stages]
    require("branch", branch, names)
    after = names.index(branch) + 1
    if after == len(stages):
        raise ArgumentError(
            "branch",
            f"{branch!r} is the backbone's last stage and leaves nothing behind the branch: the "
            f"latest possible is {names[-2]!r}",
        )
    return Cut(encoder=stages[:after], trunk=(), decoder=stages[after:])


def with_trunk(parts: Cut, depth: int) -> Cut:
    """Gives the attention trunk the first `depth` stages of the decoder, poolings left out.

    A mask must have the size of the map that it is laid on, so a stage that makes the map smaller
    by a stride is copied without its stride.
    """
    candidates = parts.candidates
    if not 0 <= depth <= len(candidates):
        raise ArgumentError(
            "trunk_depth",
            f"{depth}; behind {parts.encoder[-1].name!r} there are {len(candidates)} stages to "
            f"copy, so it lies in 0..{len(candidates)}",
        )
    copied = [_unstrided(stage) for stage in candidates[:depth]]
    return dataclasses.replace(parts, trunk=tuple(copied))


def with_last_stride(backbone: str, stages: tuple[Stage, ...], stride: int) -> tuple[Stage, ...]:
    """The stages with a stride of 1 in place of the last one: maps behind it are twice as large.

    The parameters are the same, so weights fit. Of ResNet-50 it is the last stride of Luo et al.,
    arXiv 1903.07071, section 3.4.

    Raises:
        ArgumentError: another stride than 1, or a last stride that is a pooling's.
    """
    last = max(i for i, stage in enumerate(stages) if stage.stride > 1)
    if stride != 1:
        raise ArgumentError(
            "last_stride", f"{stride}; it is 1, or 0 for the {stages[last].stride} of the backbone"
        )
    if stages[last].unstrided is None:
        raise ArgumentError(
            "last_stride",
            f"1; the last stride of {backbone!r} is that of {stages[last].name!r}, which cannot do "
            "without it; take a ResNet, a MobileNetV2, an EfficientNet-Lite or BN-Inception, or "
            "set it to 0",
        )
    return (*stages[:last], _unstrided(stages[last]), *stages[last + 1 :])


def _unstrided(stage: Stage) -> Stage:
    if stage.unstrided is None:
        return stage
    return dataclasses.replace(stage, make=stage.unstrided, stride=1, unstrided=None)
