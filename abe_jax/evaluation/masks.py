"""Where each learner looks: its attention masks over images."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, UInt8

from abe_jax.data.loader import Batch
from abe_jax.training import step


def masks(
    state: step.TrainState, mask_step: Callable, images: UInt8[np.ndarray, "s h w c"]
) -> Float[np.ndarray, "s m i j k"]:
    """Every learner's mask [i, j] for each of k channels, over images as the network sees them.

    Args:
        state: the replicated train state of a model with attention.
        mask_step: `step.mask_step(config)`, kept by the caller so that it compiles once.
        images: of one size; this host alone asks, so of several hosts none may.
    """
    devices = jax.local_device_count()
    rows = np.resize(np.arange(len(images)), -(-len(images) // devices) * devices)
    blank = np.zeros(len(rows), np.int32)
    batch = Batch(images[rows], blank, blank, np.ones(len(rows), bool))
    return mask_step(state, batch)[: len(images)]
