"""HDC: heads at rising depths of one backbone (Yuan et al., ICCV 2017, arXiv 1611.05720).

Head 1 sees what the first stages make of an image, the last head what all make. Trained by
`losses.HardShare`, each head learns from harder pairs than the one before it.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from abe_jax.errors import ArgumentError, require
from abe_jax.models.backbones.layers import HE, Conv, average_pool
from abe_jax.models.backbones.stages import Cut, StageMaps
from abe_jax.models.dropout import Dropout
from abe_jax.models.ensemble import Embeddings, Ensemble, unit
from abe_jax.models.pooling import patches

WINDOW, STRIDE = 5, 3  # of the average pooling of a side head


class Cascade(Ensemble):
    """One backbone; each learner is a head, the last behind the last stage, the others before it.

    A side head: the average of 5 x 5 windows at stride 3, a 1x1 convolution of `side_width`
    channels and a ReLU, a fully connected layer of `side_hidden` and a ReLU, dropout, a fully
    connected layer. The last head: pooling, dropout, a fully connected layer. Side heads are those
    of GoogLeNet's auxiliary classifiers, and like them take maps of one size. Where a map is
    smaller than the window, the window is the map (`layers.average_pool`).

    `side_stages` empty: evenly over the stages behind `branch`, poolings and the last stage left
    out, beginning with the first (GoogLeNet with three heads: inception4a and inception4d, as
    published); where these are fewer than side heads, the last ones of the whole backbone.
    """

    kind = "cascade"

    learners: int = 3
    side_stages: tuple[str, ...] = ()  # of each head but the last
    side_width: int = 128
    side_hidden: int = 1024
    side_dropout: float = 0.7  # share of a side head's hidden features that a step drops
    last_dropout: float = 0.4  # and of the last head's pooled ones

    def __post_init__(self) -> None:
        object.__setattr__(self, "side_stages", tuple(self.side_stages))  # of a list: hashable
        super().__post_init__()
        _check(self)

    def setup(self) -> None:
        stages = self.cut
        self.encoder = StageMaps(stages.encoder)
        self.decoder = StageMaps(stages.decoder)
        self.sides = SideHeads(self.side_names, self.side_width, self.side_hidden, self.dtype)
        rates = (self.side_dropout,) * (self.learners - 1) + (self.last_dropout,)
        self.dropouts = [Dropout(rate, self.axis_name) for rate in rates]
        self.setup_head()

    @property
    def side_names(self) -> tuple[str, ...]:
        """The stages that the side heads stand behind, in order."""
        return self.side_stages or _own_sides(self.cut, self.learners - 1)

    @property
    def sized_by(self) -> str:
        """See `Ensemble`; without a side head it is the backbone's."""
        return "kind 'cascade' has side heads" if self.learners > 1 else super().sized_by

    def __call__(
        self,
        images: Float[Array, "b h w c"],
        train: bool = False,
        first: Int[Array, ""] | None = None,
    ) -> Embeddings:
        """Embeds images; keep `batch_stats` mutable, and give `rngs` "dropout", to train.

        `first` is the number of their first in the global batch, by which `Dropout` draws.
        """
        maps = self.encoder(images.astype(self.dtype), train)
        maps |= self.decoder(_last(maps), train)
        if self.pool.tokens:
            maps |= {name: patches(maps[name], self.grid(images)) for name in self.side_names}
        pooled = self.pool(_last(maps), self.grid(images))
        features = [*self.sides(maps), pooled]
        if self.layer_norm:
            features = [self.standardise(x) for x in features]
        dropped = [
            dropout(x, train, first) for dropout, x in zip(self.dropouts, features, strict=True)
        ]
        connected: Any = self.connected  # of one array for the other kinds
        x = connected(dropped)
        return Embeddings(
            features=pooled[:, None], unnormalised=x, vectors=unit(x), sizes=self.sizes
        )

    def dense(self) -> Any:
        """The module of the last layers: one for each head, whose features differ in number."""
        return HeadLayers


def draws(model: Any) -> bool:
    """Whether a network drops features at random in training, by a row's place in the batch."""
    return isinstance(model, Cascade)


class SideHeads(nn.Module):
    """The features of every side head, [b, hidden] each in float32, from the maps of all stages."""

    stages: tuple[str, ...]
    width: int
    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, maps: dict[str, Array]) -> list[Float[Array, "b k"]]:
        return [
            SideHead(self.width, self.hidden, self.dtype, name=stage)(maps[stage])
            for stage in self.stages
        ]


class SideHead(nn.Module):
    """A head in the middle of a backbone, without its dropout and its last layer."""

    width: int
    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b k"]:
        x = average_pool(x, size=WINDOW, stride=STRIDE)
        x = Conv(self.width, 1, rectify=True, dtype=self.dtype, name="reduce")(x)
        dense = nn.Dense(self.hidden, dtype=self.dtype, kernel_init=HE, name="hidden")
        return nn.relu(dense(x.reshape(len(x), -1))).astype(jnp.float32)


class HeadLayers(nn.Module):
    """A fully connected layer for each head, of features of its own number: -> [b, m, d]."""

    features: int
    use_bias: bool
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, xs: Sequence[Float[Array, "b _"]]) -> Float[Array, "b m d"]:
        made = [
            nn.Dense(
                self.features,
                use_bias=self.use_bias,
                kernel_init=self.kernel_init,
                name=f"head{i}",
            )(x)
            for i, x in enumerate(xs)
        ]
        return jnp.stack(made, axis=1)


def _last(maps: dict[str, Array]) -> Array:
    return next(reversed(maps.values()))


def _own_sides(parts: Cut, number: int) -> tuple[str, ...]:
    last = parts.decoder[-1]
    behind = [stage.name for stage in parts.candidates if stage is not last]
    if len(behind) >= number:
        return tuple(behind[i * len(behind) // number] for i in range(number))
    stages = (*parts.encoder, *parts.decoder)
    every = [stage.name for stage in stages if not stage.pooling and stage is not last]
    if len(every) < number:
        raise ArgumentError(
            "learners",
            f"{number + 1} heads, but the backbone has {len(every)} stages before its last; at "
            f"most {len(every) + 1}",
        )
    return tuple(every[len(every) - number :])


def _check(model: Cascade) -> None:
    if model.head == "none":
        raise ArgumentError(
            "head",
            "'none', but the features of a cascade's heads differ in number; take 'linear' or "
            "'projection'",
        )
    if model.neck:
        raise ArgumentError(
            "neck", f"{model.neck!r}, but a cascade's heads have none; leave it empty"
        )
    for name in ("side_width", "side_hidden"):
        if getattr(model, name) < 1:
            raise ArgumentError(name, f"{getattr(model, name)}; it is at least 1")
    for name in ("side_dropout", "last_dropout"):
        if not 0.0 <= getattr(model, name) < 1.0:
            raise ArgumentError(
                name,
                f"{getattr(model, name):g}; it is at least 0, and below 1, which keeps nothing",
            )
    _check_stages(model)


def _check_stages(model: Cascade) -> None:
    given, sides = model.side_stages, model.learners - 1
    names = [stage.name for stage in (*model.cut.encoder, *model.cut.decoder)]
    for stage in given:
        require("side_stages", stage, names[:-1])
    ordered = tuple(name for name in names if name in given)
    if given != ordered:
        raise ArgumentError(
            "side_stages", f"{given}; each stands once, in the backbone's order: {ordered}"
        )
    if given and len(given) != sides:
        raise ArgumentError(
            "side_stages",
            f"{len(given)} for {model.learners} learners, of which all but the last stand behind "
            f"one; name {sides}, or set learners to {len(given) + 1}",
        )
    _ = model.side_names
