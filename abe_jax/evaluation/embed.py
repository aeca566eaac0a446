"""The vectors of a whole split, on all devices of all hosts."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, Int

from abe_jax import hosts, models
from abe_jax.config import Config
from abe_jax.data import loader, uncropped
from abe_jax.data.dataset import Split
from abe_jax.data.loader import Batch
from abe_jax.errors import UserError
from abe_jax.models.backbones.table import backbone
from abe_jax.training import step
from abe_jax.training.step import TrainState


class Embedded(NamedTuple):
    """The vectors of a split's readable images, which images these are, and which the others."""

    vectors: Float[np.ndarray, "n m d"]
    instances: Int[np.ndarray, " n"]
    unreadable: Int[np.ndarray, " k"]


def embed(state: TrainState, embed_step: Callable, split: Split, config: Config) -> Embedded:
    """Embeds every image of a split once, in its order.

    Args:
        state: the replicated train state.
        embed_step: `step.embed_step(config)`, kept by the caller so that it compiles once (where
            images are whole: once for each shape).
        split: the images.
        config: sizes of image and batch; a batch that does not divide over the devices is as much
            larger as it takes.

    Raises:
        UserError: that of `require_any_shape`.
    """
    return Embedded(*_rows(state, embed_step, split, config))


def both_step(config: Config) -> Callable[[TrainState, Batch], Float[np.ndarray, "b 2 m d"]]:
    """The vectors of this host's rows of a batch and, before L2, their embeddings."""

    def both(model: Any, variables: Any, pixels: Array) -> Array:
        found = model.apply(variables, pixels, train=False)
        return jnp.stack([found.vectors, found.embedding], axis=1)

    return step.apply_step(config, both)


def embed_both(
    state: TrainState, compiled: Callable, split: Split, config: Config
) -> tuple[Embedded, Float[np.ndarray, "n m d"]]:
    """As `embed`, and the same images' embeddings before L2; `compiled` is `both_step(config)`.

    Twice the memory of `embed`: for whom the length of an embedding matters.
    """
    both, read, missing = _rows(state, compiled, split, config)
    return Embedded(both[:, 0], read, missing), both[:, 1]


def exponents_step(
    config: Config, ps: Sequence[float]
) -> Callable[[TrainState, Batch], Float[np.ndarray, "b p m d"]]:
    """The vectors of this host's rows of a batch for each of `ps` as the exponent of GeM."""
    asked = jnp.asarray(ps, jnp.float32)
    learned = dataclasses.replace(config.model, gem_p=3.0, gem_learned=True)
    return step.apply_step(
        dataclasses.replace(config, model=learned),
        lambda model, variables, pixels: at_exponents(model, variables, pixels, asked),
    )


def at_exponents(
    model: models.Ensemble, variables: Any, pixels: Float[Array, "b h w c"], ps: Float[Array, " p"]
) -> Float[Array, "b p m d"]:
    """The vectors of images for each exponent p of a model whose exponent is a parameter.

    The pooling and what follows it alone are computed for each: vmap leaves as it is what does
    not depend on p.
    """

    def at(p: Array) -> Array:
        params = models.with_exponent(variables["params"], p)
        found: Any = model.apply(variables | {"params": params}, pixels, train=False)
        return found.vectors

    return jax.vmap(at, out_axes=1)(ps)


def embed_exponents(
    state: TrainState, compiled: Callable, split: Split, config: Config
) -> tuple[list[Float[np.ndarray, "n m d"]], Int[np.ndarray, " n"]]:
    """The vectors of a split's readable images for each exponent of a step, and which these are.

    As many times the memory of `embed`; `compiled` is `exponents_step(config, ps)`.
    """
    each, read, _ = _rows(state, compiled, split, config)
    return [each[:, place] for place in range(each.shape[1])], read


def _rows(
    state: TrainState, apply_step: Callable, split: Split, config: Config
) -> tuple[Float[np.ndarray, "n ..."], Int[np.ndarray, " n"], Int[np.ndarray, " k"]]:
    """What a step gives for a split's readable images, which these are, and which the others."""
    shard = loader.Shard(jax.process_index(), jax.process_count())
    values, instances, masks = [], [], []
    for batch in _batches(split, config, shard):
        values.append(apply_step(state, batch))
        instances.append(batch.instances)
        masks.append(batch.mask)
    parts = (np.concatenate(values), np.concatenate(instances), np.concatenate(masks))
    if jax.process_count() > 1:
        parts = multihost_utils.process_allgather(parts, tiled=True)
    order = np.argsort(parts[1], kind="stable")
    kept = order[np.asarray(parts[2])[order]]
    read = np.asarray(parts[1])[kept]
    missing = np.setdiff1d(np.arange(len(split.labels)), read)
    return np.asarray(parts[0])[kept], read, missing


def require_any_shape(config: Config) -> None:
    """Raises UserError where whole images are asked of a network for one size of image."""
    if config.evaluate.longest and backbone(config.model.backbone).tokens:
        raise UserError(
            f"config.evaluate.longest: {config.model.backbone!r} has positions for squares of "
            "config.data.size px only; set longest to 0, or take a convolutional backbone"
        )


def _batches(split: Split, config: Config, shard: loader.Shard) -> Iterator[loader.Batch]:
    data, evaluate, devices = config.data, config.evaluate, jax.device_count()
    # A run may be evaluated on other devices than it was trained on.
    batch = -(-evaluate.batch // devices) * devices
    if not evaluate.longest:
        return loader.in_order(split, data, batch, shard)
    require_any_shape(config)
    shapes = uncropped.shapes(_sizes(split, config, shard), evaluate.longest, evaluate.side_step)
    planned = uncropped.plan(shapes, batch, devices)
    return uncropped.batches(split, data, planned, shard)


def _sizes(split: Split, config: Config, shard: loader.Shard) -> Int[np.ndarray, "n 2"]:
    """The sizes of all images: each host reads the headers of its share, then all know all.

    Every file is thus read twice, but decoded once (twice where it is neither JPEG nor PNG).
    """
    count = len(split.labels)
    share = -(-count // shard.count)
    rows = np.minimum(shard.index * share + np.arange(share), count - 1)
    return hosts.everywhere(uncropped.sizes(split, rows, config.data))[:count]
