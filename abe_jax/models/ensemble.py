"""Single head, M-heads and ABE-M: how learners share one backbone (arXiv 1804.00382)."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.errors import UserError
from abe_jax.models.attention import MaskHeads
from abe_jax.models.backbones.layers import GLOROT
from abe_jax.models.backbones.stages import Cut, Stage, Stages
from abe_jax.models.pooling import Pooling, patches

KINDS = ("single", "heads", "attention")
HEADS = ("linear", "projection", "none")


@flax.struct.dataclass
class Embeddings:
    """What a network makes of images, in float32."""

    features: Any  # [b, m, c], pooled from the last map
    embedding: Any  # [b, m, d], not normalised: what a classifier sees
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
    pooling: Pooling
    layer_norm: bool = False  # without affine parameters, before the head
    head_kind: str = "linear"

    def setup(self) -> None:
        self.encoder = Stages(self.cut.encoder)
        if self.kind == "heads":
            self.decoder = Heads(self.cut.decoder, self.learners)
        else:
            self.decoder = Stages(self.cut.decoder)
        self.pool = self.pooling.clone()
        if self.layer_norm:
            self.norm = nn.LayerNorm(
                epsilon=1e-5, use_scale=False, use_bias=False, use_fast_variance=False
            )
        if self.head_kind != "none":
            self.head = self._dense()(
                self.dim // self.learners,
                use_bias=self.head_kind == "linear",
                kernel_init=GLOROT,
            )
        if self.kind == "attention":
            self.trunk = Stages(self.cut.trunk)
            self.mask_heads = MaskHeads(self.learners, self.dtype)

    def _dense(self) -> Any:
        """The fully connected layer: of kind `heads` one for each learner, else one for all."""
        if self.kind != "heads":
            return nn.Dense
        return nn.vmap(
            nn.Dense,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=1,
            out_axes=1,
            axis_size=self.learners,
        )

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
        features = self.pool(_fold(x)).reshape(*x.shape[:2], -1)
        embedding = self._embedding(features)
        return Embeddings(features=features, embedding=embedding, vectors=unit(embedding))

    def _embedding(self, features: Float[Array, "b m c"]) -> Float[Array, "b m d"]:
        x = self.norm(features) if self.layer_norm else features
        if self.head_kind != "none":
            return self.head(x)
        own = x.shape[-1] * self.learners
        if self.dim != own:
            raise UserError(
                f"config.model.dim: {self.dim}; with config.model.head 'none' it is that of the "
                f"pooled features of all learners, {own}"
            )
        return x

    def masks(self, images: Float[Array, "b h w c"], train: bool = False) -> Array:
        """The attention masks [b, m, i, j, k] in (0, 1) over the encoder's map of `images`."""
        found = self._masks(self.encoder(images.astype(self.dtype), train), train)
        if not self.pooling.tokens:
            return found
        square = patches(_fold(found))
        return square.reshape(*found.shape[:2], *square.shape[1:])

    def _masks(self, x: Array, train: bool) -> Array:
        return self.mask_heads(self.trunk(x, train), x.shape[-1])


def _fold(x: Float[Array, "b m h w c"]) -> Float[Array, "n h w c"]:
    """Learners into the batch axis, so that a shared decoder sees them as more images."""
    return x.reshape(-1, *x.shape[2:])


def with_exponent(params: dict[str, Any], p: float | Float[Array, ""] | None) -> dict[str, Any]:
    """A network's parameters with GeM's exponent p, as `gem_learned` has it; None: without one."""
    others = {name: part for name, part in params.items() if name != "pool"}
    return others if p is None else others | {"pool": {"p": p}}


def unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """x / |x| over the last axis; a zero vector stays zero and its gradient is finite."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
