"""The vectors of a whole split, on all devices of all hosts."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, Int

from abe_jax.config import Config
from abe_jax.data import loader
from abe_jax.data.datasets import Split
from abe_jax.step import TrainState


class Embedded(NamedTuple):
    """The vectors of a split's readable images, which images these are, and which the others."""

    vectors: Float[np.ndarray, "n m d"]
    instances: Int[np.ndarray, " n"]
    unreadable: Int[np.ndarray, " k"]


def embed(state: TrainState, embed_step: Callable, split: Split, config: Config) -> Embedded:
    """Embeds every image of a split once, in its order.

    Args:
        state: the replicated train state.
        embed_step: `step.embed_step(config)`, kept by the caller so that it compiles once.
        split: the images.
        config: sizes of image and batch.
    """
    return Embedded(*_rows(state, embed_step, split, config))


def embed_both(
    state: TrainState, both_step: Callable, split: Split, config: Config
) -> tuple[Embedded, Float[np.ndarray, "n m d"]]:
    """As `embed`, and the embeddings before L2 of the same images; `both_step` is `step`'s.

    Twice the memory of `embed`: for whom the length of an embedding matters.
    """
    both, read, missing = _rows(state, both_step, split, config)
    return Embedded(both[:, 0], read, missing), both[:, 1]


def embed_exponents(
    state: TrainState, exponents_step: Callable, split: Split, config: Config
) -> tuple[list[Float[np.ndarray, "n m d"]], Int[np.ndarray, " n"]]:
    """The vectors of a split's readable images for each exponent of a step, and which these are.

    As many times the memory of `embed`; `exponents_step` is `step`'s.
    """
    each, read, _ = _rows(state, exponents_step, split, config)
    return [each[:, place] for place in range(each.shape[1])], read


def _rows(
    state: TrainState, apply_step: Callable, split: Split, config: Config
) -> tuple[Float[np.ndarray, "n ..."], Int[np.ndarray, " n"], Int[np.ndarray, " k"]]:
    """What a step gives for a split's readable images, which these are, and which the others."""
    shard = loader.Shard(jax.process_index(), jax.process_count())
    values, instances, masks = [], [], []
    for batch in loader.in_order(split, config.data, config.evaluate.batch, shard):
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
