"""Where the arrays of GoogLeNet and BN-Inception checkpoints go."""

from collections.abc import Iterator

from abe_jax.models.backbones import bn_inception, googlenet
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
