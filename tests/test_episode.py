"""The step of two levels: by hand on one device, the gates alone, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import config, episode, models, step
from abe_jax.config import Config
from abe_jax.data.loader import Batch

TINY = Path(__file__).with_name("tiny_config.py")
D, BLOCK, B = 4, 6, 24  # domains, rows of each, rows
OPTIONS = (
    "model.kind=single",
    "model.learners=1",
    "model.dim=8",
    "model.width=4",
    "data.sampler=domains",
    "data.domains_per_batch=4",
    "data.images_per_class=2",
    f"train.batch={B}",
    "optimizer.name=sgd",
    "optimizer.rate=0.1",
    "optimizer.schedule=constant",
    "optimizer.warmup=0",
    "objective=[{'name': 'contrastive'}]",
)
META = ("model.norm=bin", "meta.domains=2", "meta.inner_rate=30", "meta.outer_rate=20")


@pytest.fixture(autouse=True)
def _promotion() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its counters
        yield


def made(*overrides: str) -> Config:
    return config.load(TINY, (*OPTIONS, *overrides))


def batch(absent: tuple[int, ...] = ()) -> Batch:
    """Blocks of rows, each of three classes that occur in other blocks too, of its own noise."""
    rng = np.random.default_rng(3)
    labels = np.concatenate([np.repeat(rng.choice(5, 3, replace=False), 2) for _ in range(D)])
    kind = rng.integers(0, 256, (5, 32, 32, 1))
    domain = rng.integers(0, 256, (D, 32, 32, 1)).repeat(BLOCK, axis=0)
    noise = rng.integers(0, 256, (B, 32, 32, 1))
    pixels = (kind[labels] + domain + noise) // 3
    mask = ~np.isin(np.arange(B), absent)
    pixels[~mask] = 0
    rows = np.arange(B, dtype=np.int32)
    return Batch(pixels.astype(np.uint8), labels.astype(np.int32), rows, mask)


def with_drawn_gates(state: step.TrainState) -> step.TrainState:
    """Gates all over [0, 1], the ends among them."""
    rng = np.random.default_rng(5)
    drawn = {
        at: jnp.asarray(np.clip(rng.uniform(-0.2, 1.2, gate.shape), 0, 1), jnp.float32)
        for at, gate in models.gates(state.params["model"]).items()
    }
    params = {**state.params, "model": models.with_gates(state.params["model"], drawn)}
    return state.replace(params=params)


def stepped(made_of: Config, start: step.TrainState, rows: Batch) -> tuple[Any, dict[str, float]]:
    """The state after a step on one device, and its metrics."""
    state, metrics = step.train_step(made_of)(step.replicate(start), rows)
    return jax.tree.map(jnp.asarray, step.unreplicate(state)), step.fetch(metrics)


def _distance(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum((x - y) ** 2))


def triplet_by_hand(x: jax.Array, labels: list[int], here: list[int], margin: float) -> jax.Array:
    terms = []
    for a in here:
        same = [_distance(x[a], x[i]) for i in here if i != a and labels[i] == labels[a]]
        other = [_distance(x[a], x[i]) for i in here if labels[i] != labels[a]]
        if same and other:
            hardest = jnp.max(jnp.stack(same)) - jnp.min(jnp.stack(other))
            terms.append(jnp.maximum(hardest + margin, 0.0))
    return sum(terms) / len(terms)


def scatter_by_hand(x: jax.Array, here: list[int]) -> jax.Array:
    means = []
    for domain in sorted({i // BLOCK for i in here}):
        rows = jnp.stack([x[i] for i in here if i // BLOCK == domain])
        centroid = jnp.mean(rows, axis=0)
        means.append(jnp.mean(rows @ (centroid / jnp.linalg.norm(centroid))))
    return sum(means) / len(means)


def shuffle_by_hand(x: jax.Array, labels: list[int], here: list[int]) -> jax.Array:
    terms = []
    for a in here:
        away = [_distance(x[a], x[i]) for i in here if i // BLOCK != a // BLOCK]
        near = [
            _distance(x[a], x[i])
            for i in here
            if i // BLOCK == a // BLOCK and labels[i] != labels[a]
        ]
        if away and near:
            terms.append(jnp.log1p(jnp.exp(jnp.max(jnp.stack(away)) - jnp.min(jnp.stack(near)))))
    return sum(terms) / len(terms)


def by_hand(made_of: Config, after: Any, start: Any, rows: Batch) -> tuple[Any, dict[str, Any]]:
    """The gates and metrics of the episode, from the parameters behind the base update."""
    model, meta = models.build(made_of.model), made_of.meta
    mean, std = made_of.data.mean[0], made_of.data.std[0]

    def embedded(gates: Any, chosen: slice) -> tuple[jax.Array, list[int], list[int]]:
        params = models.with_gates(after.params["model"], gates)
        pixels = (jnp.asarray(rows.images[chosen], jnp.float32) - mean) / std
        variables = {"params": params, "batch_stats": after.batch_stats}
        x = model.apply(variables, pixels, train=True, mutable=["batch_stats"])[0].vectors[:, 0]
        return x, rows.labels[chosen].tolist(), np.flatnonzero(rows.mask[chosen]).tolist()

    def train(gates: Any) -> tuple[jax.Array, tuple]:
        x, labels, here = embedded(gates, slice(0, meta.domains * BLOCK))
        parts = (
            scatter_by_hand(x, here),
            shuffle_by_hand(x, labels, here),
            triplet_by_hand(x, labels, here, meta.margin),
        )
        return sum(parts), parts

    def test(gates: Any) -> jax.Array:
        return triplet_by_hand(*embedded(gates, slice(meta.domains * BLOCK, None)), meta.margin)

    gates = models.gates(start.params["model"])
    gradient, parts = jax.grad(train, has_aux=True)(gates)
    virtual = {at: jnp.clip(gates[at] - meta.inner_rate * gradient[at], 0, 1) for at in gates}
    value, gradient = jax.value_and_grad(test)(virtual)
    moved = {at: jnp.clip(gates[at] - meta.outer_rate * gradient[at], 0, 1) for at in gates}
    mean_gate = np.concatenate([*moved.values()]).mean()
    found = dict(zip(episode.EPISODE, (*parts, value), strict=True))
    return (moved, virtual), found | {"gate": mean_gate}


@pytest.mark.parametrize("absent", [(), (0, 7, 23)], ids=["all there", "some absent"])
def test_an_episode_equals_one_by_hand(absent: tuple[int, ...]) -> None:
    made_of, rows = made(*META), batch(absent)
    start = with_drawn_gates(step.create(made_of))
    after, metrics = stepped(made_of, start, rows)
    (moved, virtual), found = by_hand(made_of, after, start, rows)
    before = models.gates(start.params["model"])
    for at, gate in models.gates(after.params["model"]).items():
        np.testing.assert_allclose(gate, moved[at], atol=2e-4, err_msg=at)
    for between in (moved, virtual):  # both levels move gates, and both clip some
        shift = np.concatenate([np.asarray(between[at] - before[at]) for at in before])
        assert np.abs(shift).max() > 0.05
    for name, value in found.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-4), name
