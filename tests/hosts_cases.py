"""What hosts_steps.py computes, by name: each gives arrays that no number of devices may change."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import device_steps  # the first: where JAX_ENABLE_X64 is set all that follows is in float64
import device_traffic
import jax
import numpy as np
from step_cases import SGD, STEPS, SYSTEMS

from abe_jax import evaluation, hosts
from abe_jax.config import build
from abe_jax.data.loader import Shard
from abe_jax.evaluation import knn
from abe_jax.evaluation.whitening import Whitening
from abe_jax.losses import TERMS
from abe_jax.runs import fitted_whitening
from abe_jax.training import step
from abe_jax.training.state import TrainState

Written = dict[str, np.ndarray]
IMAGES = 90  # that a whitening is fitted on
NEAREST, BLOCK = 7, 16  # neighbours of each image, and how many of these a host ranks at once


def of_loss(term: Any) -> Written:
    """Steps on a network of one matrix."""
    own = Shard(jax.process_index(), jax.process_count()).rows(device_traffic.ROWS)
    batch = jax.tree.map(lambda rows: rows[own], device_traffic.a_batch())
    gradient, tx, create = device_traffic.parts(term())
    run = step.train_step(gradient, tx)
    return device_steps.stepped(drawn(jax.eval_shape(create)), run, STEPS * [batch])


def drawn(abstract: TrainState) -> TrainState:
    """A state of such shapes, drawn: to compile what makes one takes as long as the step."""
    rng = np.random.default_rng(0)

    def one(leaf: Any) -> np.ndarray:
        if np.issubdtype(leaf.dtype, np.integer):
            return np.zeros(leaf.shape, leaf.dtype)
        return rng.normal(0.0, 0.5, leaf.shape).astype(leaf.dtype)

    return jax.tree.map(one, abstract)


def of_system(overrides: Sequence[str]) -> Written:
    """Steps of a training, whose images each host reads for itself."""
    made = device_steps.made_of([*SGD, *overrides])
    recipe = build.recipe(made)
    return device_steps.course(made, recipe.create(), recipe.train_step(), STEPS)


def of_evaluation() -> Written:
    """Vectors, neighbours, metrics and a whitening of an untrained ensemble."""
    made = device_steps.made_of(list(SYSTEMS["abe"]))
    network, state = build.network(made), build.recipe(made).create()
    embedder = evaluation.Embedder.of(network, state.params["model"], state.batch_stats, {})
    images, fitted = build.dataset(made.data), []

    def fit(raw: Any) -> Whitening | None:
        sample = fitted_whitening.sample(images.split("train"), IMAGES, 0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "whitening.npz"
            fitted[:] = [
                fitted_whitening.load_or_fit(path, {}, lambda: raw(sample)[1], lambda _: None)
            ]
        return fitted[0]

    split = images.split("val")
    vectors = evaluation.embed_split(embedder, split, fit)
    measures = evaluation.Measures(ks=(1, 2, 4), binary=True, block=BLOCK)
    results, embedded = evaluation.measure_split(embedder, split, measures, vectors=vectors)
    ranking = evaluation.Ranking(block=BLOCK)
    x = embedded.vectors
    distances, nearest = knn.knn(x, x, NEAREST, exclude_self=True, ranking=ranking)
    written = {"vectors": x, "distances": distances, "nearest": nearest}
    written |= flat("measured", results.numbers)
    if hosts.is_first():  # which alone has what is whitened
        mean, projection = fitted[0]
        # The signs of principal components are anybody's.
        written |= {"mean": mean, "precision": projection @ projection.T}
        whitened = vectors.whitened
        assert whitened is not None
        written |= {"whitened": whitened @ whitened.T}
    return written


def flat(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Each number of nested results by its full name."""
    if isinstance(value, int | float):
        yield name, np.array(value)
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from flat(f"{name}.{key}", item)


LOSSES: dict[str, Callable[[], Written]] = {
    name: lambda term=term: of_loss(term) for name, term in TERMS.items()
}
TRAININGS: dict[str, Callable[[], Written]] = {
    name: lambda own=overrides: of_system(own) for name, overrides in SYSTEMS.items()
}
CASES = {**LOSSES, **TRAININGS, "evaluation": of_evaluation}
