"""The backbones by name: their stages, normalisations, and where they are cut by default.

To add a backbone:
  1. Write its file in this folder: a function of `Options` that returns its stages, each
     `staged(name, make, stride)`: `make(name=...)` gives its Linen module, called with (x, train),
     and with a stride other than 1 `make` takes `stride=` too; a stride divides the map's sides,
     rounded up (by a pooling with `ceil=False`, down). A pooling is
     `Stage(..., stride=2, pooling=True)`. With the layers of conv_norm.py it takes the norms batch
     and bin. vgg.py and resnet.py are examples. The cut can lie behind any stage but the last.
  2. Add its row to BACKBONES below: stages, normalisations (the first is the default), and a
     default cut that leaves the trunk a stage.
  3. In the tests, always:
       test_models_backbones.py       published parameters and multiply-adds, beside the others of
                                      its kind (an Inception's and a transformer's are in
                                      test_models_inception_vit.py); SIZES, its input; SIDES, its
                                      maps
       test_combinations.py           CUTS, its cut
       step_cases.py                  a row in RUNS
     If it runs the code of a name that is tested already, as another width does: its name in
     SAME_CODE of test_combinations.py in place of CUTS, and in `same_code` of test_step_devices.py
     in place of RUNS. If it has no batch normalisation: its name in WITHOUT_NORM of
     test_combinations.py, in `without` of test_models_batch_instance.py, and in `without_norm` of
     test_step_devices.py in place of RUNS. If its maps are tokens: its name in `allowed` of
     test_combinations.py.
  4. If weights of others are to be read: in abe_jax/pretrained/ their names in sources.py and a
     file that says which array is which; that file's name in ARCHITECTURE.md; SOURCES of
     abe_jax/choices.py in the same order; in the tests a network in torch_networks.py and a row in
     test_pretrained_parity.py, which compares every stage with it.
  5. Name it in README's table of parts.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from abe_jax.errors import require
from abe_jax.models.backbones import (
    bn_inception,
    conv_norm,
    convnet,
    googlenet,
    googlenet_bn,
    mobile,
    resnet,
    vgg,
    vit,
)
from abe_jax.models.backbones.stages import Options, Stage, with_last_stride


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """How a backbone is made.

    `branch` and `trunk_depth` are what a network is cut by unless it says otherwise. GoogLeNet's
    are those of arXiv 1804.00382: behind the pooling that leaves 14 x 14 positions at 224 px, with
    a trunk of inception4a to 4e. Those of the other backbones are ours, near the same depth.
    """

    stages: Callable[[Options], tuple[Stage, ...]]
    norms: tuple[str, ...]  # the first is what an empty `norm` means
    branch: str  # what an empty `branch` means
    trunk_depth: int  # what a `trunk_depth` of None means
    tokens: bool = False  # its maps are [b, 1, 1 + n, c]: a class token, then n patches
    size: int = 224  # px of the side of the images that it was designed for


def _lite(make: Callable[[Options], tuple[Stage, ...]], size: int, branch: str) -> Backbone:
    return Backbone(stages=make, norms=conv_norm.NORMS, branch=branch, trunk_depth=2, size=size)


def _normalised(
    make: Callable[[Options], tuple[Stage, ...]], branch: str, trunk_depth: int
) -> Backbone:
    return Backbone(stages=make, norms=conv_norm.NORMS, branch=branch, trunk_depth=trunk_depth)


BACKBONES: dict[str, Backbone] = {
    "convnet": Backbone(
        stages=convnet.stages, norms=convnet.NORMS, branch="pool4", trunk_depth=1, size=32
    ),
    "googlenet": Backbone(
        stages=googlenet.stages, norms=googlenet.NORMS, branch="pool3", trunk_depth=5
    ),
    "googlenet_bn": _normalised(googlenet_bn.stages, "pool3", 5),
    "bn_inception": _normalised(bn_inception.stages, "inception3c", 5),
    "vit_s16": Backbone(
        stages=vit.stages, norms=vit.NORMS, branch="block5", trunk_depth=2, tokens=True
    ),
    "efficientnet_lite0": _lite(mobile.lite0, 224, "block10"),
    "efficientnet_lite1": _lite(mobile.lite1, 240, "block14"),
    "efficientnet_lite2": _lite(mobile.lite2, 260, "block14"),
    "mobilenet_v2": _normalised(mobile.mobilenet_v2, "block12", 2),
    "mobilenet_v2_1.4": _normalised(mobile.mobilenet_v2_wide, "block12", 2),
    "mobilenet_v2_1.4_reid": _normalised(mobile.mobilenet_v2_reid, "block12", 2),
    "resnet18": _normalised(resnet.resnet18, "block2_1", 2),
    "resnet50": _normalised(resnet.resnet50, "block2_3", 2),
    "vgg16": Backbone(stages=vgg.vgg16, norms=vgg.NORMS, branch="pool4", trunk_depth=3),
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def backbone(name: str) -> Backbone:
    """The backbone called `name`; an ArgumentError names the nearest one where there is none."""
    require("backbone", name, BACKBONES)
    return BACKBONES[name]


def stages(
    name: str,
    *,
    norm: str = "",
    freeze_norm: bool = False,
    compute: str = "float32",
    width: int = 32,
    axis_name: str | None = None,
    last_stride: int = 0,
) -> tuple[Stage, ...]:
    """The stages of the backbone `name`, from the image to the last map.

    The options are those of the models: see `abe_jax.models.ensemble.Ensemble`.
    """
    known = backbone(name)
    norm = norm or known.norms[0]
    require("norm", norm, known.norms)
    require("compute", compute, DTYPES)
    options = Options(
        norm=norm,
        dtype=DTYPES[compute],
        axis_name=axis_name,
        freeze_norm=freeze_norm,
        width=width,
    )
    made = known.stages(options)
    return with_last_stride(name, made, last_stride) if last_stride else made
