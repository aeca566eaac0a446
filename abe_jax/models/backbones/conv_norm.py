"""The normalisation that the options name, and a convolution with it and a ReLU as one module."""

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.backbones.batch_instance import BatchInstanceNorm
from abe_jax.models.backbones.layers import BatchNorm, Conv
from abe_jax.models.backbones.stages import Options

NORMS = ("batch", "bin")  # batch normalisation, batch-instance normalisation


def batch_norm(options: Options, *, epsilon: float, name: str) -> BatchNorm | BatchInstanceNorm:
    """Batch normalisation, or batch-instance normalisation in its place, as the options have it."""
    made = BatchInstanceNorm if options.norm == "bin" else BatchNorm
    return made(
        epsilon=epsilon,
        frozen=options.freeze_norm,
        axis_name=options.axis_name,
        dtype=options.dtype,
        name=name,
    )


class ConvNorm(nn.Module):
    """Parameters {conv: {kernel, bias if asked for}, norm: {scale, bias}}; a stage by itself."""

    features: int
    size: int
    options: Options
    epsilon: float
    use_bias: bool
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b i j k"]:
        options = self.options
        conv = Conv(
            self.features,
            self.size,
            stride=self.stride,
            use_bias=self.use_bias,
            dtype=options.dtype,
            name="conv",
        )
        norm = batch_norm(options, epsilon=self.epsilon, name="norm")
        return nn.relu(norm(conv(x), train))
