"""What the training step is measured on: the systems, a random batch and a random state."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from abe_jax import config
from abe_jax.config import Config, build
from abe_jax.data.images.sides import both
from abe_jax.data.loader import Batch
from abe_jax.models import counting
from abe_jax.training import step
from abe_jax.training.state import TrainState

CONFIGS = Path(__file__).parent.parent / "configs"
FULL = {
    "single": "cars196_single.py",
    "heads": "cars196_heads.py",
    "attention": "cars196_abe.py",
}
LEARNERS = (1, 2, 4, 8)
SYSTEMS = (("single", 1), *((kind, m) for kind in ("heads", "attention") for m in LEARNERS))
SMALL_BATCH = 32


def configuration(kind: str, learners: int, *, full: bool, compute: str) -> Config:
    """A system at the paper's sizes (its Cars196 config), or at those of the quickstart.

    As in the paper, only attention has the divergence term.
    """
    overrides = [f"model.learners={learners}", f"model.compute={compute}"]
    if full:
        return config.load(CONFIGS / FULL[kind], overrides)
    overrides += [f"model.kind={kind}", f"train.batch={SMALL_BATCH}"]
    made = config.load(CONFIGS / "quickstart.py", overrides)
    return made if kind == "attention" else dataclasses.replace(made, objective=made.objective[:1])


def train_step(made: Config) -> Any:
    """The system's compiled training step."""
    return build.recipe(made).train_step()


def random_batch(made: Config) -> Batch:
    """Noise for images, four of each label, on the host as the loader gives it."""
    rng, rows, data = np.random.default_rng(0), made.train.batch, made.data
    shape = (rows, *both(data.size), data.channels)
    return Batch(
        images=rng.integers(0, 256, shape, np.uint8),
        labels=rng.permutation(np.arange(rows, dtype=np.int32) // 4),
        image_ids=np.arange(rows, dtype=np.int32),
        mask=np.ones(rows, bool),
    )


def random_state(made: Config) -> TrainState:
    """A state of random kernels, replicated: the shapes are real, the initialiser is not.

    Compiling the real one takes as long as compiling the step.
    """
    rng = np.random.default_rng(0)

    def parameter(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) > 1:
            spread = math.sqrt(2 / math.prod(leaf.shape[-4:-1]))
            return (spread * rng.standard_normal(leaf.shape)).astype(leaf.dtype)
        return np.full(leaf.shape, path[-1].key == "scale", leaf.dtype)

    state = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), build.recipe(made).abstract()
    )
    params = jax.tree_util.tree_map_with_path(parameter, state.params)
    return step.replicate(state.replace(params=params))


def abstract_state(made: Config) -> TrainState:
    """The shapes and types of the replicated state."""
    devices = jax.local_device_count()
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((devices, *leaf.shape), leaf.dtype),
        build.recipe(made).abstract(),
    )


def model_multiply_adds(made: Config) -> int:
    """Multiply-adds of the model for one image, as `abe_jax.complexity` counts them."""
    parts = counting.parts(build.model(made.model), made.data.size, made.data.channels)
    return parts[-1].multiply_adds


def step_multiply_adds(made: Config) -> int:
    """Multiply-adds in the trace of the whole step on one of the devices: losses included."""
    counted = counting.multiply_adds(
        build.recipe(made).train_step(), abstract_state(made), random_batch(made)
    )
    return sum(counted.values())


def forward_multiply_adds(made: Config) -> int:
    """Multiply-adds in the trace of the model on a whole batch."""
    model = build.model(made.model)
    shape = (made.train.batch, made.data.size, made.data.size, made.data.channels)
    images = jax.ShapeDtypeStruct(shape, np.float32)
    state = build.recipe(made).abstract()
    variables = {"params": state.params["model"], "batch_stats": state.batch_stats}
    counted = counting.multiply_adds(lambda v, x: model.apply(v, x), variables, images)
    return sum(counted.values())


def matrix_product(side: int, compute: str) -> Callable[[], jax.Array]:
    """A product of two random square matrices on one device."""
    left, right = (
        jax.random.normal(jax.random.key(seed), (side, side), jnp.dtype(compute)) for seed in (0, 1)
    )
    product = jax.jit(jnp.matmul)
    return lambda: product(left, right)
