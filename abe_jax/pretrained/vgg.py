"""Where the arrays of torchvision's VGG-16 go."""

from abe_jax.models.backbones.vgg import GROUPS
from abe_jax.pretrained.placing import CONV_BIAS, Layer


def vgg16() -> tuple[Layer, ...]:
    """torchvision's VGG-16: `features` counts convolutions, ReLUs and poolings alike."""
    placed, index = [], 0
    for group, (_, depth) in enumerate(GROUPS, start=1):
        for i in range(1, depth + 1):
            placed.append(Layer(f"features.{index}", (f"conv{group}_{i}", "conv"), CONV_BIAS))
            index += 2  # a ReLU behind it
        index += 1  # the group's pooling
    return tuple(placed)
