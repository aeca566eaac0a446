"""Trains a cut-down GoogLeNet on both ways on this process's devices, in float64 (not a test).

What it comes to is written down: metrics, the parameters on every device, and those of the
checkpoint of the way for GPUs, read again and trained on by the way of all platforms.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

if jnp.zeros(()).dtype == np.float64:  # JAX_ENABLE_X64:
    jnp.float32 = jnp.float64  # pyright: ignore[reportAttributeAccessIssue]

from abe_jax import config, ways
from abe_jax.config import build
from abe_jax.data.loader import Batch
from abe_jax.models.backbones import googlenet
from abe_jax.training import Recipe, step
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.state import TrainState

STEPS = 2
# Pixels less their mean, so that response normalisation does something; a clip that does, too.
OVERRIDES = (
    "model.backbone=googlenet",
    "model.norm=lrn",
    "model.branch=pool3",
    "train.batch=8",
    "optimizer.name=sgd",
    "optimizer.rate=3.0",
    "optimizer.momentum=0.9",
    "optimizer.warmup=0",
    "optimizer.clip=0.001",
)


def main(target: Path, folder: Path, kind: str) -> None:
    """Writes what each way came to, by way and name, and what followed the checkpoint."""
    googlenet.INCEPTIONS = {
        "inception3b": googlenet.Widths(6, 4, 7, 3, 5, 2),
        "inception4a": googlenet.Widths(5, 3, 6, 2, 4, 3),
    }
    overrides = [*OVERRIDES, f"model.kind={kind}"]
    made = config.load(Path(__file__).with_name("tiny_config.py"), overrides)
    recipe, written = build.recipe(made), {"devices": np.array(jax.device_count())}
    start, steps = random_state(recipe), {}
    for name, way in (("plain", ()), ("for GPUs", ways.PIECES)):
        steps[name] = recipe.train_step()
        with ways.only(*way):
            state, metrics = taken(steps[name], start)
        for key, value in metrics.items():
            written[f"{name}/{key}"] = np.array(value)
        written |= by_name(name, state)
    checkpoints = Checkpoints(folder, 1)
    checkpoints.save(step.unreplicate(state), {})
    checkpoints.wait()
    with ways.only():
        read, _ = checkpoints.restore(recipe.abstract())
        state, _ = taken(steps["plain"], read)
    checkpoints.close()
    written |= by_name("read", step.replicate(read)) | by_name("on", state)
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]


def random_state(recipe: Recipe) -> TrainState:
    """Random kernels, and biases that are not zero."""
    rng = np.random.default_rng(0)

    def parameter(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        spread = np.sqrt(2 / max(np.prod(leaf.shape[-4:-1]), 50))
        return (spread * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    shapes = recipe.abstract()
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros.replace(params=jax.tree.map(parameter, shapes.params))


def taken(run, start: TrainState):
    """The state after some steps on noise, on every device, and the metrics of the last."""
    rng, rows, state, metrics = np.random.default_rng(1), 8, step.replicate(start), {}
    for _ in range(STEPS):
        batch = Batch(
            images=rng.integers(0, 256, (rows, 32, 32, 1), np.uint8),
            labels=np.arange(rows, dtype=np.int32) // 4,
            image_ids=np.arange(rows, dtype=np.int32),
            mask=np.ones(rows, bool),
        )
        state, metrics = run(state, batch)
    return state, step.fetch(metrics)


def by_name(prefix: str, state: TrainState) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    return {prefix + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
