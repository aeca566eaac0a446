"""Where the arrays of GoogLeNet and BN-Inception checkpoints go."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from abe_jax.models.backbones import bn_inception, googlenet
from abe_jax.models.parameters import side_stage
from abe_jax.pretrained.placing import (
    CAFFE_CONV,
    CAFFE_CONV_BGR,
    CAFFE_NORM,
    CONV,
    CONV_BIAS,
    CONV_BIAS_BGR,
    NORM,
    Layer,
    LayerArray,
)

# Our unit of an inception stage -> torchvision's.
_TORCHVISION = {
    "one": "branch1",
    "three_reduce": "branch2.0",
    "three": "branch2.1",
    "five_reduce": "branch3.0",
    "five": "branch3.1",
    "pool": "branch4.1",
}
# -> Caffe's, of GoogLeNet and of BN-Inception.
_CAFFE = {
    "one": "1x1",
    "three_reduce": "3x3_reduce",
    "three": "3x3",
    "five_reduce": "5x5_reduce",
    "five": "5x5",
    "pool": "pool_proj",
}
_DOUBLE = {
    "one": "1x1",
    "three_reduce": "3x3_reduce",
    "three": "3x3",
    "double_reduce": "double_3x3_reduce",
    "double_one": "double_3x3_1",
    "double_two": "double_3x3_2",
    "pool": "pool_proj",
}


def torchvision_googlenet() -> tuple[Layer, ...]:
    """torchvision's GoogLeNet, which normalises."""
    units = {("conv1",): "conv1", ("conv2", "reduce"): "conv2", ("conv2", "conv"): "conv3"}
    for stage in googlenet.INCEPTIONS:
        units |= {(stage, ours): f"{stage}.{theirs}" for ours, theirs in _TORCHVISION.items()}
    return tuple(
        layer
        for path, source in units.items()
        for layer in (
            Layer(f"{source}.conv", (*path, "conv"), CONV),
            Layer(f"{source}.bn", (*path, "norm"), NORM),
        )
    )


def caffe_googlenet() -> tuple[Layer, ...]:
    """Caffe's bvlc_googlenet, which does not."""
    return (
        Layer("conv1/7x7_s2", ("conv1", "conv"), CAFFE_CONV_BGR),
        Layer("conv2/3x3_reduce", ("conv2", "reduce"), CAFFE_CONV),
        Layer("conv2/3x3", ("conv2", "conv"), CAFFE_CONV),
        *(
            Layer(f"{_underscored(stage)}/{theirs}", (stage, ours), CAFFE_CONV)
            for stage in googlenet.INCEPTIONS
            for ours, theirs in _CAFFE.items()
        ),
    )


# Behind which stage an auxiliary classifier stands, its name, and the channels there.
_AUXILIARY = {"inception4a": ("loss1", 512), "inception4d": ("loss2", 528)}
_WIDTH, _HIDDEN, _SIDE = 128, 1024, 4  # of both: channels, numbers and the side of what is pooled


def _flattened(array: np.ndarray) -> np.ndarray:
    """A matrix over a flattened [c, h, w] as one over [h, w, c]."""
    return (
        array.reshape(len(array), _WIDTH, _SIDE, _SIDE).transpose(2, 3, 1, 0).reshape(-1, _HIDDEN)
    )


def caffe_googlenet_sides() -> tuple[Layer, ...]:
    """What HDC's first two heads begin with: the auxiliary classifiers but for their last layer."""
    hidden = (CAFFE_CONV[0]._replace(change=_flattened), CAFFE_CONV[1])
    return tuple(
        layer
        for stage, (source, _) in _AUXILIARY.items()
        for layer in (
            Layer(f"{source}/conv", (side_stage(stage), "reduce"), CAFFE_CONV),
            Layer(f"{source}/fc", (side_stage(stage), "hidden"), hidden),
        )
    )


def caffe_googlenet_side_shapes() -> dict[str, Any]:
    """Their parameters' shapes, as `placing.template` gives those of stages."""

    def layer(*kernel: int) -> dict[str, jax.ShapeDtypeStruct]:
        shapes = {"kernel": kernel, "bias": kernel[-1:]}
        return {k: jax.ShapeDtypeStruct(shape, np.float32) for k, shape in shapes.items()}

    return {
        side_stage(stage): {
            "reduce": layer(1, 1, channels, _WIDTH),
            "hidden": layer(_WIDTH * _SIDE**2, _HIDDEN),
        }
        for stage, (_, channels) in _AUXILIARY.items()
    }


def _underscored(stage: str) -> str:
    return stage.replace("inception", "inception_")


def caffe_bn_inception() -> tuple[Layer, ...]:
    """Caffe's BN-Inception; the blobs of a normalisation are scale, bias, mean and variance."""
    return tuple(_bn_inception("/", CAFFE_CONV_BGR, CAFFE_CONV, CAFFE_NORM))


def torch_bn_inception() -> tuple[Layer, ...]:
    """The same network as `pretrainedmodels` has it, Caffe's names with an underscore."""
    return tuple(_bn_inception("_", CONV_BIAS_BGR, CONV_BIAS, NORM))


def _bn_inception(
    join: str,
    first: tuple[LayerArray, ...],
    conv: tuple[LayerArray, ...],
    norm: tuple[LayerArray, ...],
) -> Iterator[Layer]:
    units = {
        ("conv1",): f"conv1{join}7x7_s2",
        ("conv2", "reduce"): f"conv2{join}3x3_reduce",
        ("conv2", "conv"): f"conv2{join}3x3",
    }
    for stage, widths in bn_inception.INCEPTIONS.items():
        none = {"one": not widths.one, "pool": not widths.pool}
        for ours, theirs in _DOUBLE.items():
            if not none.get(ours):
                units[stage, ours] = f"{_underscored(stage)}{join}{theirs}"
    for path, source in units.items():
        yield Layer(source, (*path, "conv"), first if path == ("conv1",) else conv)
        yield Layer(f"{source}_bn", (*path, "norm"), norm)
