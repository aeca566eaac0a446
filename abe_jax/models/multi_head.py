"""M-heads, the baseline of arXiv 1804.00382: learners share an encoder and nothing behind it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax import ways
from abe_jax.models.backbones.convolution import heads_apart
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

    On a GPU the many small kernels of the loop cost most, so decoders without running statistics
    go through `_together`: the same parameters, stacked where they are used.
    """

    stages: tuple[Stage, ...]
    learners: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b m i j k"]:
        if ways.taken("heads") and self._stateless():
            return self._together(x, train)
        maps = [Stages(self.stages, name=f"head{m}")(x, train) for m in range(self.learners)]
        return jnp.stack(maps, axis=1)

    def _stateless(self) -> bool:
        """Whether there are parameters already, and nothing but parameters."""
        return not self.is_initializing() and not self.variables.get("batch_stats")

    def _together(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b m i j k"]:
        """All decoders as one that is mapped over stacked parameters.

        Its 1x1 convolutions are batched matrix products, its elementwise operations one for all
        heads; its other convolutions stay one for each head.
        """
        own = [self.variables["params"][f"head{m}"] for m in range(self.learners)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)
        decoder = Stages(self.stages, parent=None)

        def one(params: Any) -> Any:
            return decoder.apply({"params": params}, x, train)

        with heads_apart():
            return jax.vmap(one, out_axes=1)(stacked)
