"""GoogLeNet as torchvision has it: batch normalisation, no biases, 3x3 for 5x5 convolutions."""

from functools import partial

from abe_jax.models.backbones.conv_norm import ConvNorm
from abe_jax.models.backbones.googlenet import Conv2, Inception, assembled
from abe_jax.models.backbones.layers import MaxPool
from abe_jax.models.backbones.stages import Options, Stage


def stages(options: Options) -> tuple[Stage, ...]:
    """The stages of `googlenet.stages`, every convolution without bias and normalised.

    The branch that the paper calls 5x5 has a 3x3 convolution here, and pool4 has windows of 2x2,
    as in the network whose ImageNet weights are in use.
    """
    unit = partial(ConvNorm, options=options, epsilon=1e-3, use_bias=False)
    return assembled(
        partial(unit, features=64, size=7, stride=2),
        partial(Conv2, unit=unit),
        partial(Inception, unit=unit, five=3),
        pool4=partial(MaxPool, size=2),
    )
