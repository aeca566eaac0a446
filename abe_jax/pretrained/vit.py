"""Where the arrays of timm's ViT-S/16 go, and its positions on another size of image."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from abe_jax.models.backbones.vit import BLOCKS
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


def fitted(stages: Mapping[str, Any], needed: Mapping[str, Any]) -> dict[str, Any]:
    """`stages` with position embeddings for the number of tokens that `needed` has.

    The class token keeps its own; those of the square of patches are resized bicubically, with
    antialiasing where they become fewer. Stages of other backbones stay as they are.
    """
    if "embed" not in stages or "embed" not in needed:
        return dict(stages)
    pos, tokens = np.asarray(stages["embed"]["pos"]), needed["embed"]["pos"].shape[1]
    if pos.shape[1] == tokens:
        return dict(stages)
    width = pos.shape[-1]
    old, new = (math.isqrt(n - 1) for n in (pos.shape[1], tokens))
    square = pos[:, 1:].reshape(1, old, old, width)
    resized = jax.image.resize(square, (1, new, new, width), "bicubic")
    joined = np.concatenate([pos[:, :1], np.asarray(resized).reshape(1, -1, width)], axis=1)
    return {**stages, "embed": {**stages["embed"], "pos": joined}}
