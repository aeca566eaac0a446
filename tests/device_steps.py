"""Takes a few steps on this process's devices and writes down what came of them (not a test)."""

import sys
from pathlib import Path

import jax
import numpy as np

from abe_jax import config, step
from abe_jax.data import datasets, loader, sampling
from abe_jax.training.resolve import resolved


def main(target: Path, steps: int, *overrides: str) -> None:
    """Writes metrics of each step and the parameters after the last."""
    made = resolved(config.load(Path(__file__).with_name("tiny_config.py"), overrides))
    split = datasets.load(made.data, "train")
    sample = sampling.sampler(made.data, split.labels, made.train.batch, made.seed)
    state, run = step.replicate(step.create(made)), step.train_step(made)
    written = {"devices": np.array(jax.device_count())}
    batches = loader.training(split, made.data, sample, seed=made.seed, start=0, steps=steps)
    for at, batch in enumerate(batches):
        state, metrics = run(state, batch)
        written |= {f"{at}/{k}": np.array(v) for k, v in step.fetch(metrics).items()}
    last = step.unreplicate(state)
    for path, leaf in jax.tree_util.tree_leaves_with_path((last.params, last.batch_stats)):
        written[jax.tree_util.keystr(path)] = leaf
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
