"""What stands between an embedding that triplets compare and one that a classifier sees.

Source: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPR
Workshops 2019 (arXiv 1903.07071), section 3.5, BNNeck: pooled features, batch normalisation whose
bias is held at zero, a classifier without bias. The triplet loss reads the features before it, the
classifier and the test those behind it; the test compares them by their cosine.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Neck(nn.Module):
    """Batch normalisation of every learner's embedding, each number by itself, in float32.

    It has a scale [m d] and no bias: the paper's bias is 0 and never learns. In training the
    statistics are those of the batch over all devices of `axis_name`, else the running ones.
    `freeze_norm` of a network is for its backbone, whose statistics weights bring; the neck is new.
    """

    axis_name: str | None = None
    epsilon: float = 1e-5
    momentum: float = 0.9  # of the running statistics' past

    @nn.compact
    def __call__(self, x: Float[Array, "b m d"], train: bool) -> Float[Array, "b m d"]:
        norm = nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            use_bias=False,
            use_fast_variance=False,
            axis_name=self.axis_name,
        )
        nn.share_scope(self, norm)
        return norm(x.astype(jnp.float32).reshape(x.shape[0], -1)).reshape(x.shape)
