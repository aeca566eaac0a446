"""M-heads, the baseline of arXiv 1804.00382: learners share an encoder and nothing behind it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.models.backbones.stages import Stage, Stages
from abe_jax.models.ensemble import Embeddings, Ensemble


class MultiHead(Ensemble):
    """One encoder; each learner has a decoder and a fully connected layer of its own."""

    kind = "heads"

    learners: int = 8

    def setup(self) -> None:
        stages = self.cut
        self.encoder = Stages(stages.encoder)
        self.decoder = Decoders(stages.decoder, self.learners)
        self.setup_head()

    def __call__(self, images: Float[Array, "b h w c"], train: bool = False) -> Embeddings:
        """Embeds images; keep `batch_stats` mutable when `train` is true."""
        maps = self.decoder(self.encoder(images.astype(self.dtype), train), train)
        return self.embed(maps, train, self.grid(images))

    def dense(self) -> Any:
        """The module of the fully connected layers: one for each learner."""
        return nn.vmap(
            nn.Dense,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=1,
            out_axes=1,
            axis_size=self.learners,
        )


class Decoders(nn.Module):
    """M decoders of their own on one map: [b, h, w, c] -> [b, m, h', w', c'].

    A loop over M modules: as one module vmapped over its parameters, whose convolutions become
    grouped ones, forward and backward took 4 to 21 times as long on CPU (GoogLeNet, batch 4,
    M = 4: 1.69 s against 0.39 s), and as a scan over heads more than 12 times.
    """

    stages: tuple[Stage, ...]
    learners: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b m i j k"]:
        maps = [Stages(self.stages, name=f"head{m}")(x, train) for m in range(self.learners)]
        return jnp.stack(maps, axis=1)
