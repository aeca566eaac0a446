"""Where the arrays of torchvision's ResNets go."""

from abe_jax.models.backbones.resnet import DEPTHS
from abe_jax.pretrained.placing import CONV, NORM, Layer, LayerArray

_CONVOLUTIONS = {18: 2, 50: 3}  # of a block
_NARROW = 18  # where the first group of blocks keeps its input's width


def layers(depth: int) -> tuple[Layer, ...]:
    """torchvision's ResNet of 18 or 50 layers."""
    placed = [Layer("conv1", ("conv1", "conv"), CONV), Layer("bn1", ("conv1", "norm"), NORM)]
    for group, blocks in enumerate(DEPTHS[depth], start=1):
        for index in range(blocks):
            widens = index == 0 and (group > 1 or depth != _NARROW)
            for theirs, ours, parts in _block(_CONVOLUTIONS[depth], widens):
                source = f"layer{group}.{index}.{theirs}"
                placed.append(Layer(source, (f"block{group}_{index}", ours), parts))
    return tuple(placed)


def _block(convolutions: int, widens: bool) -> list[tuple[str, str, tuple[LayerArray, ...]]]:
    """Their layer, our module and what it has."""
    parts = []
    for i in range(1, convolutions + 1):
        parts += [(f"conv{i}", f"conv{i}", CONV), (f"bn{i}", f"norm{i}", NORM)]
    if widens:
        parts.append(("downsample.0", "shortcut_conv", CONV))
        parts.append(("downsample.1", "shortcut_norm", NORM))
    return parts
