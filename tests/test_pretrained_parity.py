"""Converted weights give the activations of the PyTorch network they come from, stage by stage."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models, pretrained

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the extra `parity`)")

import caffe_bytes  # noqa: E402
import torch_networks as networks  # noqa: E402


def lite(*channels: int) -> Any:
    """EfficientNet-Lite1 or 2: one more block of most groups."""
    groups = networks.EfficientNetLite.LITE0
    wide = zip(groups, channels, strict=True)
    more = [
        (blocks + (0 < i < 6), *middle, outs) for i, ((blocks, *middle, _), outs) in enumerate(wide)
    ]
    return networks.EfficientNetLite(more)


TORCH: dict[str, Callable[[], Any]] = {
    "efficientnet_lite0": networks.EfficientNetLite,
    "efficientnet_lite1": lambda: lite(16, 24, 40, 80, 112, 192, 320),
    "efficientnet_lite2": lambda: lite(16, 24, 48, 88, 120, 208, 352),
    "mobilenet_v2": lambda: networks.MobileNetV2(nested=False),
    "torchvision_mobilenet_v2": lambda: networks.MobileNetV2(nested=True),
    "torchvision_mobilenet_v2_1.4": lambda: networks.MobileNetV2(nested=True, wide=True),
    "torchreid_mobilenet_v2_1.4": networks.TorchreidMobileNetV2,
    "torchvision_resnet18": lambda: networks.ResNet((2, 2, 2, 2), bottleneck=False),
    "torchvision_resnet50": lambda: networks.ResNet((3, 4, 6, 3), bottleneck=True),
    "torchvision_vgg16": networks.VGG16,
    "torchvision_googlenet": networks.TorchvisionGoogLeNet,
    "bninception": networks.BNInception,
    "timm_vit_small_patch16_224": networks.ViTSmall,
    "timm_deit_small_patch16_224": networks.ViTSmall,
}
CAFFE: dict[str, Callable[[], Any]] = {
    "caffe_googlenet": networks.CaffeGoogLeNet,
    "caffe_bn_inception": lambda: networks.BNInception(join="/"),
}
BLUE_FIRST = ("bninception", *CAFFE)


def ours(
    found: pretrained.Weights, images: np.ndarray, last_stride: int = 0
) -> dict[str, np.ndarray]:
    """The map behind every stage."""
    stages = models.stages(found.backbone, norm=found.norm, last_stride=last_stride)

    @jax.jit
    def run(params: Any, batch_stats: Any, x: Any) -> dict[str, Any]:
        maps = {}
        for stage in stages:
            own = {"params": params.get(stage.name, {})}
            own |= {"batch_stats": batch_stats.get(stage.name, {})}
            maps[stage.name] = x = stage.make(name=stage.name).apply(own, x, False)
        return maps

    maps = run(found.params, found.batch_stats, jnp.asarray(images))
    return jax.tree.map(np.asarray, maps)


def theirs(net: Any, images: np.ndarray, *, blue_first: bool) -> dict[str, np.ndarray]:
    """The same of a PyTorch network, in our order of axes."""
    x, maps = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), {}
    x = x.flip(1) if blue_first else x
    with torch.no_grad():
        for name, stage in net.stages():
            x = stage(x)
            array = x.numpy()
            maps[name] = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array[:, None]
    return maps


def saved(net: Any) -> bytes:
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    return file.getvalue()


def caffe_saved(net: Any) -> bytes:
    """The network's layers as Caffe's; what its normalisation keeps, as four blobs."""
    layers: dict[str, list[bytes]] = {}
    for key, value in net.state_dict().items():
        name, _, part = key.removeprefix("layers.").rpartition(".")
        if part != "num_batches_tracked":
            name = "fc" if name == "last_linear" else name
            layers.setdefault(name, []).append(caffe_bytes.blob(value.numpy()))
    return caffe_bytes.model(layers)


def test_every_source_is_compared() -> None:
    assert {*TORCH, *CAFFE} == set(pretrained.SOURCES)


QUICK = (  # of every family one
    "efficientnet_lite0",
    "torchvision_resnet18",
    "bninception",
    "caffe_googlenet",
    "timm_vit_small_patch16_224",
)


@pytest.mark.parametrize(
    "source",
    [pytest.param(s, marks=[] if s in QUICK else [pytest.mark.slow]) for s in (*TORCH, *CAFFE)],
)
def test_every_stage_gives_the_same_map(source: str, tmp_path: Path) -> None:
    net = networks.randomised((TORCH | CAFFE)[source]())
    path = tmp_path / "weights"
    path.write_bytes(caffe_saved(net) if source in CAFFE else saved(net))
    found = pretrained.convert(source, path)
    same_maps(net, found, source)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["torchvision_resnet50", "torchreid_mobilenet_v2_1.4"])
def test_without_the_last_stride_on_a_rectangle(source: str, tmp_path: Path) -> None:
    net = networks.randomised(TORCH[source]())
    (tmp_path / "weights").write_bytes(saved(net))
    strided = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2)]
    for conv in strided[-2:] if "resnet" in source else strided[-1:]:  # and that of the shortcut
        conv.stride = (1, 1)  # pyright: ignore[reportArgumentType]
    found = pretrained.convert(source, tmp_path / "weights")
    same_maps(net, found, source, (96, 64), last_stride=1)


def same_maps(
    net: Any,
    found: pretrained.Weights,
    source: str,
    shape: tuple[int, int] | None = None,
    last_stride: int = 0,
) -> None:
    size = 224 if "vit" in found.backbone else 96
    shape = shape or (size, size)
    images = np.random.default_rng(1).normal(size=(1, *shape, 3)).astype(np.float32)
    expected = theirs(net, images, blue_first=source in BLUE_FIRST)
    maps = ours(found, images, last_stride)
    assert sorted(maps) == sorted(expected)
    for name, value in expected.items():
        scale = np.abs(value).max()
        assert scale > 0.05, f"{name}: too little to compare"
        np.testing.assert_allclose(maps[name] / scale, value / scale, atol=3e-5, err_msg=name)
