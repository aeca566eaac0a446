"""The backbones by name: which normalisations each takes, and what makes its stages."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from abe_jax.config import Model
from abe_jax.models.backbones import (
    bn_inception,
    conv_norm,
    convnet,
    googlenet,
    googlenet_bn,
    mobile,
    resnet,
    vit,
)
from abe_jax.models.backbones.stages import Options, Stage, require


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """How a backbone is made. `norms`: the first is what an empty `config.model.norm` means."""

    stages: Callable[[Options], tuple[Stage, ...]]
    norms: tuple[str, ...]
    tokens: bool = False  # its maps are [b, 1, 1 + n, c]: a class token, then n patches
    size: int = 224  # px of the side of the images that it was designed for


BACKBONES: dict[str, Backbone] = {
    "convnet": Backbone(stages=convnet.stages, norms=convnet.NORMS),
    "googlenet": Backbone(stages=googlenet.stages, norms=googlenet.NORMS),
    "googlenet_bn": Backbone(stages=googlenet_bn.stages, norms=conv_norm.NORMS),
    "bn_inception": Backbone(stages=bn_inception.stages, norms=conv_norm.NORMS),
    "vit_s16": Backbone(stages=vit.stages, norms=vit.NORMS, tokens=True),
    "efficientnet_lite0": Backbone(stages=mobile.lite0, norms=conv_norm.NORMS),
    "efficientnet_lite1": Backbone(stages=mobile.lite1, norms=conv_norm.NORMS, size=240),
    "efficientnet_lite2": Backbone(stages=mobile.lite2, norms=conv_norm.NORMS, size=260),
    "mobilenet_v2": Backbone(stages=mobile.mobilenet_v2, norms=conv_norm.NORMS),
    "resnet18": Backbone(stages=resnet.resnet18, norms=conv_norm.NORMS),
    "resnet50": Backbone(stages=resnet.resnet50, norms=conv_norm.NORMS),
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def backbone(name: str) -> Backbone:
    """The backbone called `name`; a UserError names the nearest one where there is none."""
    require("config.model.backbone", name, BACKBONES)
    return BACKBONES[name]


def stages(model: Model, axis_name: str | None = None) -> tuple[Stage, ...]:
    """The stages of the config's backbone, from the image to the last map."""
    found = backbone(model.backbone)
    norm = model.norm or found.norms[0]
    require("config.model.norm", norm, found.norms)
    require("config.model.compute", model.compute, DTYPES)
    options = Options(
        norm=norm,
        dtype=DTYPES[model.compute],
        axis_name=axis_name,
        freeze_norm=model.freeze_norm,
        width=model.width,
    )
    return found.stages(options)
