"""A convolution, batch normalisation and a ReLU as one module: what many backbones repeat."""

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.layers import BatchNorm, Conv
from abe_jax.models.stages import Options


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
        norm = BatchNorm(
            epsilon=self.epsilon,
            frozen=options.freeze_norm,
            axis_name=options.axis_name,
            dtype=options.dtype,
            name="norm",
        )
        return nn.relu(norm(conv(x), train))
