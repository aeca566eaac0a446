"""Single head, M-heads and ABE-M: how learners share one backbone (arXiv 1804.00382)."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.models.attention import MaskHeads
from abe_jax.models.layers import GLOROT
from abe_jax.models.stages import Cut, Stage, Stages

KINDS = ("single", "heads", "attention")


@flax.struct.dataclass
class Embeddings:
    """What a network makes of images, in float32."""

    features: Any  # [b, m, c], the mean over the last map
    vectors: Any  # [b, m, d], of length one for each learner on its own


class Heads(nn.Module):
    """M decoders of their own on one map: [b, h, w, c] -> [b, m, h', w', c'].

    A loop over M modules: as one module vmapped over its parameters, whose convolutions become
    grouped ones, forward and backward took 4 to 21 times as long on CPU (GoogLeNet, batch 4,
    M = 4: 1.69 s against 0.39 s), and as a scan over heads more than 12 times.
    """

    stages: tuple[Stage, ...]
    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b m i j k"]:
        maps = [Stages(self.stages, name=f"head{i}")(x, train) for i in range(self.heads)]
        return jnp.stack(maps, axis=1)


class Ensemble(nn.Module):
    """A backbone cut in two with M learners behind the cut.

    single: one learner, the plain network. heads: a decoder and a fully connected layer for each
    learner. attention: everything shared, learner m sees S(x) * A_m(S(x)), where S is the encoder;
    the trunk of A runs once for all learners.
    """

    cut: Cut
    kind: str
    learners: int
    dim: int
    dtype: Any

    def setup(self) -> None:
        self.encoder = Stages(self.cut.encoder)
        if self.kind == "heads":
            self.decoder = Heads(self.cut.decoder, self.learners)
            dense = nn.vmap(
                nn.Dense,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                in_axes=1,
                out_axes=1,
                axis_size=self.learners,
            )
        else:
            self.decoder = Stages(self.cut.decoder)
            dense = nn.Dense
        self.head = dense(self.dim // self.learners, kernel_init=GLOROT)
        if self.kind == "attention":
            self.trunk = Stages(self.cut.trunk)
            self.mask_heads = MaskHeads(self.learners, self.dtype)

    def __call__(self, images: Float[Array, "b h w c"], train: bool = False) -> Embeddings:
        """Embeds images already normalised; keep `batch_stats` mutable when `train` is true."""
        x = self.encoder(images.astype(self.dtype), train)
        if self.kind == "attention":
            x = x[:, None] * self._masks(x, train)
            x = self.decoder(_fold(x), train)
            x = x.reshape(-1, self.learners, *x.shape[1:])
        elif self.kind == "heads":
            x = self.decoder(x, train)
        else:
            x = self.decoder(x, train)[:, None]
        features = x.astype(jnp.float32).mean(axis=(2, 3))
        return Embeddings(features=features, vectors=unit(self.head(features)))

    def masks(self, images: Float[Array, "b h w c"], train: bool = False) -> Array:
        """The attention masks [b, m, i, j, k] in (0, 1) over the encoder's map of `images`."""
        return self._masks(self.encoder(images.astype(self.dtype), train), train)

    def _masks(self, x: Array, train: bool) -> Array:
        return self.mask_heads(self.trunk(x, train), x.shape[-1])


def _fold(x: Float[Array, "b m h w c"]) -> Float[Array, "n h w c"]:
    """Learners into the batch axis, so that a shared decoder sees them as more images."""
    return x.reshape(-1, *x.shape[2:])


def unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """x / |x| over the last axis; a zero vector stays zero and its gradient is finite."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
