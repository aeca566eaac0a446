"""What tests of training share: states and batches of a config."""

import jax
import numpy as np

from abe_jax.config import Config, build, training
from abe_jax.training.state import TrainState


def created_state(config: Config) -> TrainState:
    """The state before the first step."""
    return build.recipe(config).create()


def resolved(config: Config, *args: object) -> Config:
    """The config with what it leaves to its weights and its data."""
    return training.resolved(config, build.dataset(config.data), *args)  # pyright: ignore


def on_host(state: TrainState) -> TrainState:
    """The state as NumPy arrays."""
    return jax.tree.map(np.asarray, state)
