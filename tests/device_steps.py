"""Takes a few steps on this process's devices and writes down what came of them (not a test)."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

if jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
    # The same program with every float32 of it a float64.
    jnp.float32 = jnp.float64  # pyright: ignore[reportAttributeAccessIssue]

from abe_jax import config
from abe_jax.config import Config, build, training
from abe_jax.data.loader import Batch
from abe_jax.training import step
from abe_jax.training.state import TrainState

Written = dict[str, np.ndarray]


def main(target: Path, steps: int, overrides: list[str], samplers: dict[str, list[str]]) -> None:
    """Writes metrics of each step and the parameters after the last, from one start for each
    sampler (a name, and what it sets of config.data): they share one compiled program."""
    first = made_of(overrides)
    recipe = build.recipe(first)
    start, run = recipe.create(), recipe.train_step()
    written = {"devices": np.array(jax.device_count())}
    for name, settings in samplers.items():
        found = course(made_of([*overrides, *settings]), start, run, steps)
        written |= {f"{name}: {key}": value for key, value in found.items()}
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]


def made_of(overrides: list[str]) -> Config:
    made = config.load(Path(__file__).with_name("tiny_config.py"), overrides)
    return training.resolved(made, build.dataset(made.data))


def course(made: Config, start: TrainState, run, steps: int) -> Written:
    """What the steps on the batches of one sampler come to."""
    split = build.dataset(made.data).split("train")
    batches = build.recipe(made).batches(split)
    return stepped(start, run, [batch for _, batch in zip(range(steps), batches, strict=False)])


def stepped(start: TrainState, run, batches: Sequence[Batch]) -> Written:
    """Metrics of each step, and the parameters and running statistics after the last."""
    state, written = step.replicate(start), {}
    for at, batch in enumerate(batches):
        state, metrics = run(state, batch)
        written |= {f"{at}/{k}": np.array(v) for k, v in step.fetch(metrics).items()}
    last = step.unreplicate(state)
    for path, leaf in jax.tree_util.tree_leaves_with_path((last.params, last.batch_stats)):
        written[jax.tree_util.keystr(path)] = leaf
    return written


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4]))
