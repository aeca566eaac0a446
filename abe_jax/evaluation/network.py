"""A network with its preprocessing, applied to every image of a split on all devices of all hosts.

The same program on the same machine gives an image at the same place of a batch the same bits,
whatever images stand beside it. Elsewhere in the batch its vector may differ, since matrix products
are cut into blocks by a processor's caches and instructions, and so it may in a batch of another
size, on another processor or on another number of devices: by less than ROUNDING. Nothing that is
decided by a distance, such as what is a copy, may depend on less.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from abe_jax import hosts, models
from abe_jax.data import loader, uncropped
from abe_jax.data.images import sides
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.loader import Batch
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError
from abe_jax.training import step
from abe_jax.training.progress import compiling
from abe_jax.training.state import TrainState

# How far apart two unit vectors can be that one network, computing in float32, gives one image for
# one learner. Measured with AVX2, AVX and SSE4.2, one thread and several: up to 6e-7, with
# ResNet-18, MobileNet-like networks and a convnet. bfloat16 and the TF32 of GPUs round more.
ROUNDING = 2e-6

Apply = Callable[[TrainState, Batch], np.ndarray]  # this host's rows of a batch
Told = Callable[[int], None]  # how many images of a batch have been embedded
_log = logging.getLogger(__name__)  # a command line shows it


class Embedded(NamedTuple):
    """The vectors of a split's readable images, and the rows of the split that these are.

    `unreadable` are the split's other rows. Vectors are of unit length, or of the lengths that the
    model's `test_weights` give (`Ensemble.compared`); a learner smaller than d ends in zeros.
    """

    vectors: Float[np.ndarray, "n m d"]
    image_ids: Int[np.ndarray, " n"]
    unreadable: Int[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A model, how images are made ready for it, and how many are embedded at once.

    Each program is compiled once for each network (of uncropped images: once for each shape), so
    keep the network where more than one split is embedded.

    Raises:
        ArgumentError: `longest` of a model that takes squares of one size only.
    """

    model: models.Ensemble
    preprocessing: Preprocessing
    _: dataclasses.KW_ONLY
    batch: int = 256  # images at once; grows to the next number that divides over the devices
    longest: int = 0  # px of the longest side of images embedded uncropped; 0: centre crops
    side_step: int = 32  # `longest`: the shorter side becomes a multiple of so many px
    threads: int = 2  # that read and decode images

    def __post_init__(self):
        if self.longest and self.model.sized_by:
            raise ArgumentError(
                "longest",
                f"{self.model.sized_by} for images of one size only "
                f"({sides.words(self.preprocessing.size)}); set longest to 0, or take a "
                "convolutional backbone and a kind that pools its maps, such as 'single'",
            )

    def vectors(self, state: TrainState, split: Split, *, told: Told | None = None) -> Embedded:
        """Embeds every image of a split once, in its order.

        Args:
            state: the replicated state; of `params` only the part `model` is used.
            split: the images. All hosts call with the same one, and each gets all vectors.
            told: is given this host's images of each batch that is done.
        """
        return Embedded(*self._rows(self._embed_step, state, split, told))

    def with_unnormalised(
        self, state: TrainState, split: Split
    ) -> tuple[Embedded, Float[np.ndarray, "n m d"]]:
        """As `vectors`, and the same images' embeddings before L2, in twice the memory."""
        both, image_ids, unreadable = self._rows(self._both_step, state, split)
        return Embedded(both[:, 0], image_ids, unreadable), both[:, 1]

    def unnormalised(
        self, state: TrainState, split: Split
    ) -> tuple[Float[np.ndarray, "n m d"], Int[np.ndarray, " n"]]:
        """The embeddings before L2 of a split's readable images, and which rows these are."""
        rows, image_ids, _ = self._rows(self._unnormalised_step, state, split)
        return rows, image_ids

    def at_exponents(
        self, state: TrainState, split: Split, ps: Sequence[float], *, unnormalised: bool = False
    ) -> tuple[list[Float[np.ndarray, "n m d"]], Int[np.ndarray, " n"]]:
        """The vectors of a split's readable images for each p of GeM, and which rows these are.

        `unnormalised`: the embeddings before L2 in their place. It takes as many times the memory
        of `vectors` as there are exponents.
        """
        step = self.exponents_step(ps, unnormalised=unnormalised)
        rows, image_ids, _ = self._rows(step, state, split)
        return [rows[:, i] for i in range(rows.shape[1])], image_ids

    def masks(
        self, state: TrainState, images: UInt8[np.ndarray, "s h w c"]
    ) -> Float[np.ndarray, "s m i j k"]:
        """Every learner's attention mask [i, j] for each of k channels, over preprocessed images.

        The model is one with attention. All hosts call it with the same images, and each computes
        all of them on its own devices.
        """
        devices = jax.local_device_count()
        rows = np.resize(np.arange(len(images)), -(-len(images) // devices) * devices)
        blank = np.zeros(len(rows), np.int32)
        batch = Batch(images[rows], blank, blank, np.ones(len(rows), bool))
        return self._mask_step(state, batch)[: len(images)]

    def shapes(self) -> dict[str, Any]:
        """Shapes and types of the model's `params` and `batch_stats`, without computing them."""
        shape = (1, *self.preprocessing.shape, self.preprocessing.channels)
        variables = jax.eval_shape(
            lambda x: self.model.init(jax.random.key(0), x),
            jax.ShapeDtypeStruct(shape, jnp.float32),
        )
        return {"batch_stats": {}, **variables}

    def exponents_step(self, ps: Sequence[float], *, unnormalised: bool = False) -> Apply:
        """The vectors [b, p, m, d] of this host's rows of a batch for each p of `ps` as GeM's."""
        read = "unnormalised" if unnormalised else "vectors"
        exponents = jnp.asarray(ps, jnp.float32)
        model = self.model.clone(gem_p=3.0, gem_learned=True)
        return step.apply_step(
            model,
            self.preprocessing.normalise,
            lambda *of: at_exponents(of[0], of[1], of[2], exponents, read),
        )

    @cached_property
    def _embed_step(self) -> Apply:
        return step.embed_step(self.model, self.preprocessing.normalise)

    @cached_property
    def _mask_step(self) -> Apply:
        return step.mask_step(self.model, self.preprocessing.normalise)

    @cached_property
    def _both_step(self) -> Apply:
        def both(model: Any, variables: Any, pixels: Array) -> Array:
            embeddings = model.apply(variables, pixels, train=False)
            return jnp.stack([model.compared(embeddings), embeddings.unnormalised], axis=1)

        return step.apply_step(self.model, self.preprocessing.normalise, both)

    @cached_property
    def _unnormalised_step(self) -> Apply:
        return step.apply_step(
            self.model,
            self.preprocessing.normalise,
            lambda model, variables, pixels: (
                model.apply(variables, pixels, train=False).unnormalised
            ),
        )

    def _rows(
        self, apply_step: Apply, state: TrainState, split: Split, told: Told | None = None
    ) -> tuple[Float[np.ndarray, "n ..."], Int[np.ndarray, " n"], Int[np.ndarray, " k"]]:
        """What a step gives of a split's readable images, which rows these are, and the others."""
        values, image_ids, masks = [], [], []
        for batch in self._batches(split):
            hosts.reached(f"a batch of the {split.name} images")
            with contextlib.nullcontext() if values else compiling(_log.info):
                values.append(apply_step(state, batch))
            if told:
                left = len(split.labels) - sum(map(len, masks))  # the last batch is filled up
                told(max(0, min(len(batch.mask), left)))
            image_ids.append(batch.image_ids)
            masks.append(batch.mask)
        parts = [hosts.gather_rows(np.concatenate(part)) for part in (values, image_ids, masks)]
        order = np.argsort(parts[1], kind="stable")
        kept = order[np.asarray(parts[2])[order]]
        readable = np.asarray(parts[1])[kept]
        unreadable = np.setdiff1d(np.arange(len(split.labels)), readable)
        return np.asarray(parts[0])[kept], readable, unreadable

    def _batches(self, split: Split) -> Iterator[Batch]:
        known = split.annotations and split.annotations.points
        models.check_points(self.model, known, f"the images of {split.name}")
        if not models.asks_points(self.model):
            split = dataclasses.replace(split, annotations=None)
        devices = jax.device_count()
        shard = loader.Shard(jax.process_index(), jax.process_count())
        # A run may be evaluated on other devices than it was trained on.
        batch = -(-self.batch // devices) * devices
        if not self.longest:
            return loader.in_order(split, self.preprocessing, batch, self.threads, shard)
        sizes = self._sizes(split, shard)
        shapes = uncropped.shapes(sizes, self.longest, self.side_step)
        planned = uncropped.plan(shapes, batch, devices)
        return uncropped.batches(split, self.preprocessing, planned, self.threads, shard)

    def _sizes(self, split: Split, shard: loader.Shard) -> Int[np.ndarray, "n 2"]:
        """The sizes of all images: each host reads the headers of its share, then all know all.

        Every file is thus read twice, but decoded once (twice where it is neither JPEG nor PNG).
        """
        count = len(split.labels)
        share = -(-count // shard.count)
        rows = np.minimum(shard.index * share + np.arange(share), count - 1)
        sizes = uncropped.sizes(split, rows, self.threads)
        return hosts.gather_rows(sizes)[:count]


def at_exponents(
    model: Any,
    variables: Any,
    pixels: Float[Array, "b h w c"],
    ps: Float[Array, " p"],
    read: str = "vectors",
) -> Float[Array, "b p m d"]:
    """The vectors of images for each exponent p of a model whose exponent is a parameter.

    `read` is vectors, or unnormalised for the embeddings before L2.

    The pooling and what follows it alone are computed for each: vmap leaves as it is what does
    not depend on p.
    """

    def at(p: Array) -> Array:
        params = models.with_exponent(variables["params"], p)
        made = model.apply(variables | {"params": params}, pixels, train=False)
        return made.unnormalised if read == "unnormalised" else model.compared(made)

    return jax.vmap(at, out_axes=1)(ps)
