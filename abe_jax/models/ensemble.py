"""What all kinds share: a backbone cut in two, M learners behind the cut, one vector each."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError, require
from abe_jax.models import learner_sizes
from abe_jax.models.backbones import vit
from abe_jax.models.backbones.layers import GLOROT
from abe_jax.models.backbones.stages import Cut, cut, with_trunk
from abe_jax.models.backbones.table import DTYPES, backbone, stages
from abe_jax.models.learner_sizes import LearnerLayers
from abe_jax.models.neck import Neck
from abe_jax.models.pooling import POOLINGS, Pooling

HEADS = ("linear", "projection", "none")
NECKS = ("", "batch")


@flax.struct.dataclass
class Embeddings:
    """What a network makes of images, in float32; d is the largest learner's.

    Behind the numbers of a smaller learner stand zeros.
    """

    features: Any  # [b, m, c], pooled from the last map
    unnormalised: Any  # [b, m, d], before L2 normalisation: what a classifier sees
    vectors: Any  # [b, m, d], of length one for each learner on its own
    sizes: tuple[int, ...] = flax.struct.field(pytree_node=False, default=())  # of each learner
    before_neck: Any = None  # [b, m, d], what the neck normalises; None without a neck
    predictions: Any = None  # what it says of each image beside that: see fashion_net.py


class Ensemble(nn.Module):
    """M learners on one backbone; SingleHead, MultiHead, DividedHead, Cascade and ABE say how they
    differ.

    `module.apply(variables, images, train=...)` embeds images that are already normalised.

    Raises:
        ArgumentError: names or numbers that make no network, with the nearest right choice.
    """

    kind: ClassVar[str] = ""

    backbone: str  # one of BACKBONES in abe_jax/models/backbones/table.py
    learners: int = 1
    dim: int = 512  # of all learners together, split evenly where `dims` is empty
    dims: tuple[int, ...] = ()  # of each learner, where they differ; they sum to `dim`
    # How much each learner counts in the ensemble at test: the concatenation of w_i z_i, z_i of
    # unit length. Empty: all alike.
    test_weights: tuple[float, ...] = ()
    branch: str = ""  # last stage of the shared encoder; empty: the backbone's own
    # Stages behind `branch` that ABE's attention trunk copies, poolings left out; None: the
    # backbone's own number. The other kinds have no trunk.
    trunk_depth: int | None = None
    norm: str = ""  # one of the backbone's; empty: its first
    freeze_norm: bool = False  # batch normalisation by its running statistics, also in training
    pooling: str = "average"  # average | max | gem | rmac | token (vision transformers)
    gem_p: float = 3.0  # GeM's exponent, its start where it is learned; inf is the maximum
    gem_learned: bool = False
    layer_norm: bool = False  # normalisation of the pooled features, without affine parameters
    head: str = "linear"  # linear | projection (no bias) | none: `dim` is then the features' own
    neck: str = ""  # batch: batch normalisation behind the head (models/neck.py); empty: none
    last_stride: int = 0  # 1: the last stage with a stride has none; 0: as the backbone has it
    compute: str = "float32"  # float32 | bfloat16
    width: int = 32  # channels of the convnet's first stage
    axis_name: str | None = None  # of the devices that batch normalisation's statistics span

    def __post_init__(self) -> None:
        # A network is hashed, and lists cannot be.
        self.dims, self.test_weights = tuple(self.dims), tuple(self.test_weights)
        _check(self)
        super().__post_init__()

    @property
    def cut(self) -> Cut:
        """The stages of the encoder, of the attention trunk (ABE's alone) and of the decoder."""
        made = stages(
            self.backbone,
            norm=self.norm,
            freeze_norm=self.freeze_norm,
            compute=self.compute,
            width=self.width,
            axis_name=self.axis_name,
            last_stride=self.last_stride,
        )
        parts = cut(made, self.branch or backbone(self.backbone).branch)
        return parts if self.kind != "attention" else with_trunk(parts, self._depth(parts))

    def _depth(self, parts: Cut) -> int:
        if self.trunk_depth is not None:
            return self.trunk_depth
        return min(backbone(self.backbone).trunk_depth, len(parts.candidates))

    @property
    def sized_by(self) -> str:
        """What allows for images of one size only, in words; empty where any size will do."""
        return f"{self.backbone!r} has positions" if backbone(self.backbone).tokens else ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The dimensions of each learner; the greatest is d of all vectors [b, m, d]."""
        return self.dims or (self.dim // self.learners,) * self.learners

    @nn.nowrap
    def compared(self, embeddings: Embeddings) -> Float[Array, "b m d"]:
        """The vectors as an evaluation and an index compare them: by `test_weights`.

        Unit vectors, each times its learner's scale (`learner_sizes.scales`). What looks at one
        learner alone, its ranks and its cosines, is the same for any scale.
        """
        if not self.test_weights:
            return embeddings.vectors
        scales = jnp.asarray(learner_sizes.scales(self.test_weights), jnp.float32)
        return embeddings.vectors * scales[None, :, None]

    @property
    def dtype(self) -> Any:
        """The type that convolutions and matrix products compute in."""
        return DTYPES[self.compute]

    def setup_head(self) -> None:
        """What stands behind the last map: pooling and the fully connected layer."""
        self.pool = Pooling(
            kind=self.pooling,
            p=self.gem_p,
            learned=self.gem_learned,
            tokens=backbone(self.backbone).tokens,
        )
        if self.layer_norm:
            self.standardise = nn.LayerNorm(
                epsilon=1e-5, use_scale=False, use_bias=False, use_fast_variance=False
            )
        if self.head != "none":
            bias, sizes = self.head == "linear", self.sizes
            if self.kind == "divided" or min(sizes) < max(sizes):
                self.connected = LearnerLayers(sizes, bias, name="head")
            else:
                dense = self.dense()
                self.connected = dense(sizes[0], use_bias=bias, kernel_init=GLOROT, name="head")
        if self.neck:
            self.normalised = Neck(axis_name=self.axis_name, name="neck")

    def dense(self) -> Any:
        """The module of the fully connected layer: one for all learners."""
        return nn.Dense

    def grid(self, images: Float[Array, "b h w c"]) -> tuple[int, int] | None:
        """Rows and columns of the patches of a vision transformer; None of another backbone."""
        if not backbone(self.backbone).tokens:
            return None
        return vit.grid((images.shape[1], images.shape[2]))

    def embed(
        self,
        maps: Float[Array, "b m h w c"],
        train: bool,
        grid: tuple[int, int] | None = None,
    ) -> Embeddings:
        """Pools every learner's last map and connects it: unit(neck(head(pool(map))))."""
        features = self.pool(fold(maps), grid).reshape(*maps.shape[:2], -1)
        if maps.shape[1] < self.learners:  # one map for all of them
            features = jnp.repeat(features, self.learners, axis=1)
        x = self.standardise(features) if self.layer_norm else features
        if self.head != "none":
            x = self.connected(x)
        elif self.dim != self.learners * x.shape[-1]:
            raise ArgumentError(
                "dim",
                f"{self.dim}; with head 'none' it is that of the pooled features of all learners, "
                f"{self.learners * x.shape[-1]}",
            )
        if not self.neck:
            return Embeddings(features=features, unnormalised=x, vectors=unit(x), sizes=self.sizes)
        y = self.normalised(x, train)
        return Embeddings(
            features=features,
            unnormalised=y,
            vectors=unit(y),
            before_neck=x,
            sizes=self.sizes,
        )


def fold(x: Float[Array, "b m h w c"]) -> Float[Array, "n h w c"]:
    """Learners into the batch axis, so that shared layers see them as more images."""
    return x.reshape(-1, *x.shape[2:])


def unit(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """x / |x| over the last axis; a zero vector stays zero and its gradient is finite."""
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))


def _check(model: Ensemble) -> None:
    require("pooling", model.pooling, POOLINGS)
    require("head", model.head, HEADS)
    require("neck", model.neck, NECKS)
    if model.width < 1:
        raise ArgumentError("width", f"{model.width}; it is at least 1")
    _check_learners(model)
    _ = model.cut
    if model.pooling == "token" and not backbone(model.backbone).tokens:
        raise ArgumentError(
            "pooling",
            "'token' is for vision transformers; a convolutional backbone has 'average', 'max', "
            "'gem' or 'rmac'",
        )
    if model.pooling == "gem" and model.gem_learned and math.isinf(model.gem_p):
        raise ArgumentError(
            "gem_p",
            "inf is the maximum and cannot be learned; start from 3, or set gem_learned to False",
        )


def _check_learners(model: Ensemble) -> None:
    m, dim = model.learners, model.dim
    if m < 1:
        raise ArgumentError("learners", f"{m}; there is at least 1")
    if model.kind == "single" and m != 1:
        raise ArgumentError(
            "learners",
            f"{m}, but a network of kind 'single' has one; "
            "set learners to 1, or kind to 'heads', 'divided' or 'attention'",
        )
    if model.test_weights:
        learner_sizes.check_weights(m, model.test_weights)
    if model.dims:
        learner_sizes.check(model.kind, model.head, m, dim, model.dims)
    elif dim < 1 or dim % m:
        below, above = max(dim, 0) // m * m, (max(dim, 0) // m + 1) * m
        near = f"{below} or {above}" if below else f"{above}"
        raise ArgumentError(
            "dim", f"{dim} does not split evenly over {m} learners; the nearest is {near}"
        )
    if model.kind == "divided" and model.head == "none":
        raise ArgumentError(
            "head",
            "'none', but the learners of kind 'divided' differ by their fully connected layers; "
            "set head to 'linear' or 'projection', or kind to 'single'",
        )
