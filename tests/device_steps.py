"""Takes a few steps on this process's devices and writes down what came of them (not a test)."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

if jnp.zeros(()).dtype == np.float64:  # JAX_ENABLE_X64:
    # The same program with every float32 of it a float64.
    jnp.float32 = jnp.float64  # pyright: ignore[reportAttributeAccessIssue]

from abe_jax import config
from abe_jax.config import Config
from abe_jax.config.resolve import resolved
from abe_jax.data import dataset, loader, sampling
from abe_jax.training import step

Written = dict[str, np.ndarray]


def main(target: Path, steps: int, overrides: list[str], samplers: dict[str, list[str]]) -> None:
    """Writes metrics of each step and the parameters after the last, from one start for each
    sampler (a name, and what it sets of config.data): they share one compiled program."""
    first = made_of(overrides)
    start, run = step.create(first), step.train_step(first)
    written = {"devices": np.array(jax.device_count())}
    for name, settings in samplers.items():
        found = course(made_of([*overrides, *settings]), start, run, steps)
        written |= {f"{name}: {key}": value for key, value in found.items()}
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]


def made_of(overrides: list[str]) -> Config:
    return resolved(config.load(Path(__file__).with_name("tiny_config.py"), overrides))


def course(made: Config, start: step.TrainState, run, steps: int) -> Written:
    """What the steps on the batches of one sampler come to."""
    split = dataset.load(made.data, "train")
    sample = sampling.sampler(
        made.data, split.labels, made.train.batch, made.seed, groups=split.groups
    )
    state, written = step.replicate(start), {}
    batches = loader.training(split, made.data, sample, seed=made.seed, start=0, steps=steps)
    for at, batch in enumerate(batches):
        state, metrics = run(state, batch)
        written |= {f"{at}/{k}": np.array(v) for k, v in step.fetch(metrics).items()}
    last = step.unreplicate(state)
    for path, leaf in jax.tree_util.tree_leaves_with_path((last.params, last.batch_stats)):
        written[jax.tree_util.keystr(path)] = leaf
    return written


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4]))
