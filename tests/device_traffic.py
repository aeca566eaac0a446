"""What the compiled training step of each loss sends between this process's devices (not a test).

The network is one matrix, so that a step compiles in a moment; what a loss sends hangs on no more
of a network than what it reads of it.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from abe_jax import config, losses
from abe_jax.config import build
from abe_jax.data.annotations import Annotations
from abe_jax.data.loader import Batch
from abe_jax.losses.table import TERMS
from abe_jax.models import Embeddings, Predictions
from abe_jax.training import state as states
from abe_jax.training import step, traffic
from abe_jax.training.gradient import Gradient
from abe_jax.training.state import TrainState

ROWS, LEARNERS, DIM, CHANNELS, CLASSES, POINTS, SIDE = 32, 3, 5, 7, 11, 2, 4
OTHERS = {  # settings of a loss that read something else
    "contrastive": {"label": "instance"},
    "triplet": {"reads": "before_neck"},
    "adversarial": {"variant": "activation"},
    "norm_softmax": {"subsample": 4},
}


class Matrix(nn.Module):
    """Features, and of them embeddings before and behind a neck, and predictions."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, images: Any, train: bool = False) -> Embeddings:
        features = nn.Dense(CHANNELS, name="encoder")(images.reshape(len(images), -1))
        features = jnp.repeat(features[:, None], LEARNERS, axis=1)
        before = Heads(name="head")(features)
        after = before * self.param("neck", nn.initializers.ones, (1, 1, DIM))
        said = nn.Dense(POINTS * 4 + 2 * CLASSES, name="said")(features[:, 0])
        points, seen, category, attributes = jnp.split(
            said, np.cumsum([POINTS * 2, POINTS * 2, CLASSES]).tolist(), axis=1
        )
        return Embeddings(
            features=features,
            unnormalised=after,
            vectors=after / jnp.linalg.norm(after, axis=-1, keepdims=True),
            before_neck=before,
            sizes=(DIM,) * LEARNERS,
            predictions=Predictions(
                points.reshape(-1, POINTS, 2), seen.reshape(-1, POINTS, 2), category, attributes
            ),
        )


class Heads(nn.Module):
    """A kernel for each learner."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        made = [nn.Dense(DIM, name=f"learner{i}")(x[:, i]) for i in range(LEARNERS)]
        return jnp.stack(made, axis=1)


def objectives() -> Iterator[tuple[str, Any]]:
    terms: dict[str, Any] = {**TERMS}
    for name, term in terms.items():
        yield name, term()
        if name in OTHERS:
            yield f"{name}, {next(iter(OTHERS[name].values()))}", term(**OTHERS[name])


def a_batch() -> Batch:
    """Noise, two rows of each image and four of each class, in four blocks."""
    rng, ids = np.random.default_rng(0), np.arange(ROWS, dtype=np.int32)
    known = Annotations(
        points=rng.random((ROWS, POINTS, 3), np.float32),
        categories=ids % CLASSES,
        attributes=rng.random((ROWS, CLASSES)) < 0.5,
    )
    images = rng.integers(0, 256, (ROWS, SIDE, SIDE, 1), np.uint8)
    return Batch(images, ids // 2 % 4, ids // 2, np.ones(ROWS, bool), known)


def parts(term: Any, chunks: int = 1) -> tuple[Gradient, Any, Callable[[], TrainState]]:
    """How a loss's step gets its gradient, its optimiser, and what makes its first state."""
    blocks = 4 if isinstance(term, losses.Scatter | losses.Shuffle) else 0
    objective = losses.Objective(term, CLASSES, blocks, (0.5,) * CLASSES)
    model, tx = Matrix(), optax.sgd(0.1)
    create = functools.partial(states.create, model, objective, tx, (SIDE, SIDE, 1), 0)
    return Gradient(model, objective, _normalised, chunks), tx, create


def _normalised(pixels: Any) -> Any:
    return pixels.astype(jnp.float32) / 128.0 - 1.0


def in_step(term: Any, chunks: int) -> dict[str, Any]:
    gradient, tx, create = parts(term, chunks)
    return sent(step.train_step(gradient, tx), jax.eval_shape(create), a_batch())


def of_config(overrides: list[str]) -> dict[str, Any]:
    made = build.recipe(config.load(Path(__file__).with_name("tiny_config.py"), overrides))
    rows, (height, width) = made.train.batch, made.preprocessing.shape
    ids = np.arange(rows, dtype=np.int32)
    images = np.zeros((rows, height, width, 1), np.uint8)
    return sent(made.train_step(), made.abstract(), Batch(images, ids // 4, ids, ids >= 0))


def sent(run: Any, abstract: Any, batch: Batch) -> dict[str, Any]:
    """The exchanges of a step, and the bytes of each part of the state."""
    state = step.replicate(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract))
    text = jax.jit(run).lower(state, batch).compile().as_text()
    parts = {
        **abstract.params["model"],
        "objective": abstract.params["objective"],
        "batch_stats": abstract.batch_stats,
    }
    sizes = {name: sum(4 * leaf.size for leaf in jax.tree.leaves(p)) for name, p in parts.items()}
    return {"parts": sizes, "exchanges": traffic.exchanges(text or "")}


def main(what: list[str]) -> None:
    """Of every loss, by so many chunks; or of a config with overrides."""
    if what[0].isdigit():
        found = {name: in_step(term, int(what[0])) for name, term in objectives()}
    else:
        found = of_config(what)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
