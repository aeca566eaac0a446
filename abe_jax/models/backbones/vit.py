"""ViT-S/16, a vision transformer on patches of 16 x 16 pixels: its blocks are the stages.

Source: Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021; the small size is that of
Touvron et al., Training data-efficient image transformers, ICML 2021 (DeiT-S).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.data.images.sides import numbers
from abe_jax.errors import ArgumentError
from abe_jax.models.backbones.stages import Options, Stage

NORMS = ("layer",)
PATCH = 16  # pixels
WIDTH = 384
HIDDEN = 1536  # of a block's two fully connected layers
HEADS = 6
BLOCKS = 12
SMALL = nn.initializers.truncated_normal(0.02)


class LayerNorm(nn.Module):
    """Normalisation of every token over its channels, in float32; a stage by itself."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b 1 t c"], train: bool = False) -> Float[Array, "b 1 t c"]:
        norm = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False)
        nn.share_scope(self, norm)
        return norm(x.astype(jnp.float32)).astype(self.dtype)


class Patches(nn.Module):
    """A convolution whose stride is its size, without padding, as one matrix product."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b n d"]:
        b, h, w, c = x.shape
        shape = (PATCH, PATCH, c, WIDTH)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (WIDTH,), jnp.float32)
        x = x.reshape(b, h // PATCH, PATCH, w // PATCH, PATCH, c)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, PATCH * PATCH * c)
        x = x @ kernel.astype(self.dtype).reshape(-1, WIDTH)
        return x + bias.astype(self.dtype)[None, None]


class Embed(nn.Module):
    """Images to tokens: the class token, then the patches row by row, with positions.

    The position embeddings are parameters for one height and width, those of the first call.
    """

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b 1 t 384"]:
        _require_patches(*x.shape[1:3])
        x = Patches(dtype=self.dtype, name="conv")(x)
        first = self.param("cls", nn.initializers.normal(1e-6), (1, 1, WIDTH), jnp.float32)
        first = jnp.broadcast_to(first.astype(self.dtype), (x.shape[0], 1, WIDTH))
        x = jnp.concatenate([first, x], axis=1)
        positions = self.param("pos", SMALL, (1, x.shape[1], WIDTH), jnp.float32)
        return (x + positions.astype(self.dtype))[:, None]


class Block(nn.Module):
    """x + attention(norm1(x)), then x + fc2(gelu(fc1(norm2(x)))), with the exact GELU."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b 1 t c"], train: bool) -> Float[Array, "b 1 t c"]:
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=SMALL)
        norm = partial(LayerNorm, dtype=self.dtype)
        mixed = attention(dense(3 * WIDTH, name="qkv")(norm(name="norm1")(x)), HEADS)
        x = x + dense(WIDTH, name="proj")(mixed)
        hidden = nn.gelu(dense(HIDDEN, name="fc1")(norm(name="norm2")(x)), approximate=False)
        return x + dense(WIDTH, name="fc2")(hidden)


def attention(qkv: Float[Array, "b 1 t e"], heads: int) -> Float[Array, "b 1 t c"]:
    """softmax(q k^T / sqrt(d)) v for each head of d channels, the softmax in float32.

    The last axis of `qkv` holds the queries of all heads, then the keys, then the values.
    """
    b, _, t, e = qkv.shape
    depth = e // 3 // heads
    q, k, v = jnp.moveaxis(qkv.reshape(b, t, 3, heads, depth), 2, 0)
    scores = jnp.einsum("bthd,bshd->bhts", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores * depth**-0.5).astype(v.dtype)
    return jnp.einsum("bhts,bshd->bthd", weights, v).reshape(b, 1, t, heads * depth)


def _require_patches(height: int, width: int) -> None:
    if height % PATCH or width % PATCH:
        high, wide = (max(1, round(side / PATCH)) * PATCH for side in (height, width))
        raise ArgumentError(
            "size",
            f"ViT-S/16 takes sides that are multiples of {PATCH} px, not {height} x {width}; the "
            f"nearest is {numbers((high, wide))}",
        )


def grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the patches of an image of this height and width."""
    return shape[0] // PATCH, shape[1] // PATCH


def stages(options: Options) -> tuple[Stage, ...]:
    """The stages embed, block0 .. block11 and norm; every map is [b, 1, 1 + n, 384]."""
    dtype = options.dtype
    return (
        # No `unstrided`: it is the first stage, and a branch lies behind it at the earliest.
        Stage(name="embed", make=partial(Embed, dtype=dtype), stride=PATCH),
        *(Stage(name=f"block{i}", make=partial(Block, dtype=dtype)) for i in range(BLOCKS)),
        Stage(name="norm", make=partial(LayerNorm, dtype=dtype)),
    )
