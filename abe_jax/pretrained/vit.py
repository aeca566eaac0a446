"""Where the arrays of timm's ViT-S/16 go, and its positions on another size of image."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from abe_jax.models.backbones.vit import BLOCKS, grid
from abe_jax.pretrained.placing import CONV_BIAS, DENSE, LAYER_NORM, Layer

_BLOCK = (
    ("norm1", "norm1", LAYER_NORM),
    ("attn.qkv", "qkv", DENSE),
    ("attn.proj", "proj", DENSE),
    ("norm2", "norm2", LAYER_NORM),
    ("mlp.fc1", "fc1", DENSE),
    ("mlp.fc2", "fc2", DENSE),
)

LAYERS = (
    Layer("cls_token", ("embed", "cls")),
    Layer("pos_embed", ("embed", "pos")),
    Layer("patch_embed.proj", ("embed", "conv"), CONV_BIAS),
    *(
        Layer(f"blocks.{i}.{theirs}", (f"block{i}", ours), parts)
        for i in range(BLOCKS)
        for theirs, ours, parts in _BLOCK
    ),
    Layer("norm", ("norm",), LAYER_NORM),
)


def fitted(
    stages: Mapping[str, Any],
    needed: Mapping[str, Any],
    shape: tuple[int, int] | None = None,
    was: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """`stages` with position embeddings for the number of tokens that `needed` has.

    The class token keeps its own; those of the map of patches are resized bicubically, with
    antialiasing where they become fewer. Stages of other backbones stay as they are. `shape` is the
    height and width of the images, `was` that of the images of `stages`; None: squares.
    """
    if "embed" not in stages or "embed" not in needed:
        return dict(stages)
    pos, tokens = np.asarray(stages["embed"]["pos"]), needed["embed"]["pos"].shape[1]
    old, new = _grid(pos.shape[1], was), _grid(tokens, shape)
    if old == new:
        return dict(stages)
    width = pos.shape[-1]
    placed = pos[:, 1:].reshape(1, *old, width)
    resized = jax.image.resize(placed, (1, *new, width), "bicubic")
    joined = np.concatenate([pos[:, :1], np.asarray(resized).reshape(1, -1, width)], axis=1)
    return {**stages, "embed": {**stages["embed"], "pos": joined}}


def _grid(tokens: int, shape: tuple[int, int] | None) -> tuple[int, int]:
    side = math.isqrt(tokens - 1)
    return grid(shape) if shape else (side, side)
