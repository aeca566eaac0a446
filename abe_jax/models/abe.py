"""ABE-M, the attention-based ensemble: Kim et al., ECCV 2018, arXiv 1804.00382.

    B_m(x) = G(S(x) * A_m(S(x)))

S makes a map of the image, A_m masks every position and channel of it for learner m, and G embeds
what is left. S and G have one set of parameters for all learners, which differ by their masks
alone. One trunk serves all A_m, each of which ends in a 1x1 convolution of its own: the parameters
and multiply-adds of the paper's table are those of one trunk.
"""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from abe_jax.models.backbones.layers import GLOROT, Conv
from abe_jax.models.backbones.stages import Stages
from abe_jax.models.ensemble import Embeddings, Ensemble, fold
from abe_jax.models.masking import masked
from abe_jax.models.pooling import patches


class ABE(Ensemble):
    """M learners that share everything but their attention masks."""

    kind = "attention"

    learners: int = 8

    def setup(self) -> None:
        stages = self.cut
        self.encoder = Stages(stages.encoder)  # S
        self.trunk = Stages(stages.trunk)  # of all A_m
        self.mask_heads = MaskHeads(self.learners, self.dtype)  # of each A_m its own
        self.decoder = Stages(stages.decoder)  # G, which ends in pooling and a linear layer
        self.setup_head()

    def __call__(self, images: Float[Array, "b h w c"], train: bool = False) -> Embeddings:
        """B_m(x) for every learner; keep `batch_stats` mutable when `train` is true."""
        s = self.encoder(images.astype(self.dtype), train)
        x = masked(s[:, None], self.logits(s, train))  # S(x) * A_m(S(x)): [b, m, h, w, c]
        x = self.decoder(fold(x), train)  # M learners as M times as many images
        return self.embed(x.reshape(-1, self.learners, *x.shape[1:]), train, self.grid(images))

    def attention(self, s: Float[Array, "b h w c"], train: bool) -> Float[Array, "b m h w c"]:
        """A_m(s) for every learner, to look at; the forward pass has its sigmoid in `masked`."""
        return nn.sigmoid(self.logits(s, train))

    def logits(self, s: Float[Array, "b h w c"], train: bool) -> Float[Array, "b m h w c"]:
        """What A_m(s) is the sigmoid of, for every learner; the trunk runs once."""
        return self.mask_heads(self.trunk(s, train), s.shape[-1])

    def masks(self, images: Float[Array, "b h w c"], train: bool = False) -> Array:
        """The attention masks [b, m, i, j, k] in (0, 1) over the encoder's map of `images`."""
        masks = self.attention(self.encoder(images.astype(self.dtype), train), train)
        if not self.pool.tokens:
            return masks
        placed = patches(fold(masks), self.grid(images))  # a class token stands at no position
        return placed.reshape(*masks.shape[:2], *placed.shape[1:])


class MaskHeads(nn.Module):
    """A 1x1 convolution of the trunk's map over every position and channel, M times.

    Masks are its sigmoids. The M convolutions are one vmapped module, which XLA runs as one matrix
    product.
    """

    learners: int
    dtype: Any

    @nn.compact
    def __call__(self, trunk: Float[Array, "b h w k"], channels: int) -> Float[Array, "b m h w c"]:
        convolutions = nn.vmap(
            Conv,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,  # pyright: ignore[reportArgumentType]: flax takes None, its hint omits it
            out_axes=1,
            axis_size=self.learners,
        )
        conv = convolutions(channels, 1, dtype=self.dtype, kernel_init=GLOROT, name="conv")
        return conv(trunk)
