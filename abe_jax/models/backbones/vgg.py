"""VGG-16 (arXiv 1409.1556, configuration D) as torchvision has it: no batch normalisation."""

from functools import partial

from abe_jax.models.backbones.convnet import ConvReLU
from abe_jax.models.backbones.layers import MaxPool
from abe_jax.models.backbones.stages import Options, Stage, staged

NORMS = ("none",)
GROUPS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, 3x3 convolutions


def vgg16(options: Options) -> tuple[Stage, ...]:
    """The 13 convolutions of VGG-16 with their ReLUs, made for 224 px: conv1_1 .. conv5_3, pool5.

    Each group ends in a maximum over 2x2, pool1 to pool5; the last map is 7 x 7 x 512. The three
    fully connected layers are a classifier's and left out.
    """
    made: list[Stage] = []
    for group, (features, depth) in enumerate(GROUPS, start=1):
        make = partial(ConvReLU, features=features, size=3, options=options)
        made += [staged(f"conv{group}_{i}", make) for i in range(1, depth + 1)]
        pool = partial(MaxPool, size=2, ceil=False)
        made.append(Stage(name=f"pool{group}", make=pool, stride=2, pooling=True))
    return tuple(made)
