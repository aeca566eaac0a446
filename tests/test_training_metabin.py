"""The step of two levels: by hand on one device, the gates alone, and what is refused."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import created_state

from abe_jax import config, models
from abe_jax.config import Config, Meta, build, devices
from abe_jax.data.loader import Batch
from abe_jax.errors import UserError
from abe_jax.training import metabin, step
from abe_jax.training.state import TrainState

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
# Whatever has a gradient moves by Adam, and counts in the norm that is clipped.
ADAM = ("optimizer.name=adam", "optimizer.rate=0.01", "optimizer.clip=0.01")
RATES = ("meta.inner_rate=30", "meta.outer_rate=20")
META = ("model.norm=bin", "meta.domains=2", "meta.start=1", *RATES, *ADAM)


pytestmark = pytest.mark.usefixtures("promotion")


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


def with_drawn_gates(state: TrainState) -> TrainState:
    """Gates all over [0, 1], the ends among them."""
    rng = np.random.default_rng(5)
    drawn = {
        at: jnp.asarray(np.clip(rng.uniform(-0.2, 1.2, gate.shape), 0, 1), jnp.float32)
        for at, gate in models.gates(state.params["model"]).items()
    }
    params = {**state.params, "model": models.with_gates(state.params["model"], drawn)}
    return state.replace(params=params)


created = functools.cache(created_state)  # compiled once
trained = functools.cache(lambda made_of: build.recipe(made_of).train_step())


def stepped(made_of: Config, start: TrainState, rows: Batch) -> tuple[Any, dict[str, float]]:
    """The state after a step on one device, and its metrics."""
    state, metrics = trained(made_of)(step.replicate(start), rows)
    return jax.tree.map(jnp.asarray, step.unreplicate(state)), step.fetch(metrics)


def distances(x: Any, ends: list[tuple[int, int]]) -> Any:
    """Distances between chosen rows."""
    left, right = (np.array(column) for column in zip(*ends, strict=True))
    return jnp.sqrt(jnp.sum((x[left] - x[right]) ** 2, axis=-1))


def hardest(x: np.ndarray, labels: list[int], here: list[int]) -> tuple[list, list]:
    """(anchor, farthest positive) and (anchor, nearest negative) of each anchor with both."""
    positives, negatives = [], []
    for a in here:
        same = [i for i in here if i != a and labels[i] == labels[a]]
        other = [i for i in here if labels[i] != labels[a]]
        if same and other:
            positives.append((a, max(same, key=lambda i: np.linalg.norm(x[a] - x[i]))))
            negatives.append((a, min(other, key=lambda i: np.linalg.norm(x[a] - x[i]))))
    return positives, negatives


def mixed(x: np.ndarray, labels: list[int], here: list[int]) -> tuple[list, list]:
    """(anchor, farthest of another domain), (anchor, nearest of its own and another class)."""
    far, near = [], []
    for a in here:
        away = [i for i in here if i // BLOCK != a // BLOCK]
        own = [i for i in here if i // BLOCK == a // BLOCK and labels[i] != labels[a]]
        if away and own:
            far.append((a, max(away, key=lambda i: np.linalg.norm(x[a] - x[i]))))
            near.append((a, min(own, key=lambda i: np.linalg.norm(x[a] - x[i]))))
    return far, near


def triplet(x: Any, chosen: tuple[list, list], margin: float) -> Any:
    return jnp.mean(jnp.maximum(distances(x, chosen[0]) - distances(x, chosen[1]) + margin, 0.0))


def scatter(x: Any, here: list[int]) -> Any:
    x, means = x / jnp.linalg.norm(x, axis=-1, keepdims=True), []
    for domain in sorted({i // BLOCK for i in here}):
        rows = x[np.array([i for i in here if i // BLOCK == domain])]
        centroid = jnp.mean(rows, axis=0)
        means.append(jnp.mean(rows @ (centroid / jnp.sqrt(jnp.sum(centroid**2)))))
    return sum(means) / len(means)


@functools.cache
def network(made_of: Config) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """(params, batch_stats, images, weights) -> vectors, the gates' gradient of their weighted sum.

    What is chosen among vectors needs them first: one compiled program serves both calls.
    """
    model, data = build.model(made_of.model), made_of.data

    @jax.jit
    def of(params: Any, stats: Any, images: Any, weights: Any) -> tuple[Any, Any]:
        def vectors(gates: Any) -> Any:
            pixels = (jnp.asarray(images, jnp.float32) - data.mean[0]) / data.std[0]
            given: Any = {"params": models.with_gates(params, gates), "batch_stats": stats}
            made: Any = model.apply(given, pixels, train=True, mutable=["batch_stats"])
            return getattr(made[0], made_of.meta.reads)[:, 0]

        found, back = jax.vjp(vectors, models.gates(params))
        return found, back(weights)[0]

    return of


def by_hand(made_of: Config, after: Any, start: Any, rows: Batch) -> tuple[Any, dict[str, Any]]:
    """The gates and metrics of the meta-update, from the parameters behind the base update."""
    meta, of = made_of.meta, network(made_of)

    def descended(part: slice, value_of: Any, at: Any, gates: Any, rate: float) -> tuple[Any, Any]:
        given = models.with_gates(after.params["model"], at), after.batch_stats, rows.images[part]
        x, _ = of(*given, np.zeros((len(given[-1]), made_of.model.dim), np.float32))
        labels, here = rows.labels[part].tolist(), np.flatnonzero(rows.mask[part]).tolist()
        near = np.asarray(x)
        chosen = hardest(near, labels, here), mixed(near, labels, here), here

        def loss(x: Any) -> tuple[Any, Any]:
            values = value_of(x, *chosen)
            return sum(values), values

        weights, values = jax.jit(jax.grad(loss, has_aux=True))(x)
        _, gradient = of(*given, weights)
        return {k: jnp.clip(gates[k] - rate * gradient[k], 0, 1) for k in gates}, values

    def train(x: Any, hard: Any, mix: Any, here: list[int]) -> tuple:
        shuffled = jnp.mean(jnp.log1p(jnp.exp(distances(x, mix[0]) - distances(x, mix[1]))))
        return scatter(x, here), shuffled, triplet(x, hard, meta.margin)

    gates, end = models.gates(start.params["model"]), meta.domains * BLOCK
    virtual, first = descended(slice(0, end), train, gates, gates, meta.inner_rate)
    moved, second = descended(
        slice(end, B),
        lambda x, hard, *_: (triplet(x, hard, meta.margin),),
        virtual,
        gates,
        meta.outer_rate,
    )
    found = dict(zip(metabin.META, (*first, *second), strict=True))
    return (moved, virtual), found | {"gate": np.concatenate([*moved.values()]).mean()}


# Distances before the neck are longer, and so are the gradients.
NECK = ("model.neck=batch", "meta.reads=before_neck", "meta.inner_rate=3", "meta.outer_rate=2")


@pytest.mark.parametrize(
    ("absent", "neck"),
    [
        pytest.param((), (), marks=pytest.mark.slow),
        ((0, 7, 23), ()),
        pytest.param((0, 7, 23), NECK, marks=pytest.mark.slow),
    ],
    ids=["all there", "some absent", "before the neck"],
)
def test_a_meta_update_equals_one_by_hand(absent: tuple[int, ...], neck: tuple[str, ...]) -> None:
    made_of, rows = made(*META, *neck), batch(absent)
    start = with_drawn_gates(created(made_of)).replace(step=jnp.int32(1))
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


def plain(tree: Any) -> dict[str, Any]:
    """The leaves that a network with plain batch normalisation has too, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    paths = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {at: leaf for at, leaf in paths.items() if "instance_" not in at and "gate" not in at}


def test_the_base_step_is_that_of_plain_batch_normalisation_and_moves_no_gate() -> None:
    made_of = made(*META)
    start, rows = created(made_of), batch()
    after, metrics = stepped(made_of, start, rows)
    gates = models.gates(after.params["model"])
    assert all((gate == 1).all() for gate in gates.values())  # no meta-update yet
    assert metrics["gate"] == 1 and metrics["meta_scatter"] > 0
    other = made(*ADAM, "model.norm=batch")
    given = created(other)
    own = plain(start.params["model"])
    params = jax.tree_util.tree_map_with_path(
        lambda path, _: own[jax.tree_util.keystr(path)], given.params["model"]
    )
    given = given.replace(params={**given.params, "model": params})
    expected, theirs = stepped(other, given, rows)
    assert metrics["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-5)
    for part in ("params", "batch_stats"):
        found, right = plain(getattr(after, part)), plain(getattr(expected, part))
        assert found.keys() == right.keys()
        for at, leaf in found.items():
            np.testing.assert_allclose(leaf, right[at], atol=1e-5, err_msg=at)
    again, metrics = stepped(made_of, after, rows)
    moved = models.gates(again.params["model"])
    assert any((gate < 1).any() for gate in moved.values()) and metrics["gate"] < 1


def test_without_meta_learning_gates_learn_by_the_optimiser_and_stay_in_bounds() -> None:
    made_of = made("model.norm=bin", "optimizer.rate=100.0")
    start = with_drawn_gates(created(made_of))
    after, metrics = stepped(made_of, start, batch())
    gates = models.gates(after.params["model"])
    before = models.gates(start.params["model"])
    values = np.concatenate(list(gates.values()))
    assert values.min() == 0 and values.max() == 1  # some were carried over either end
    assert any((gates[at] != before[at]).any() for at in gates)
    assert metrics["gate"] == pytest.approx(values.mean())
    assert build.recipe(made_of).after_update.metrics == ("gate",)
    assert not build.recipe(made()).after_update.metrics
    assert not set(metabin.META) & metrics.keys()


def test_the_inner_rate_rises_and_falls() -> None:
    meta = Meta(inner_rate=0.1, cycle=10, cycle_least=0.001, cycle_most=0.1)
    rates = [float(meta.inner_rate_at(jnp.int32(at))) for at in range(21)]
    expected = [0.001 + 0.099 * (1 - abs(2 * (at % 10) / 10 - 1)) for at in range(21)]
    np.testing.assert_allclose(rates, 0.1 * np.array(expected), rtol=1e-5)
    assert np.argmax(rates) == 5 and rates[5] == pytest.approx(0.01)
    assert float(Meta(inner_rate=0.3).inner_rate_at(jnp.int32(7))) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("model.norm=batch",), r"config\.meta\.domains: 2, .*set config\.model\.norm to 'bin'"),
        (("data.sampler=shuffle",), r"config\.data\.sampler: 'shuffle', but config\.meta\.domains"),
        (("meta.domains=4",), r"config\.meta\.domains: 4 of .*=4 leave none .* at most 3"),
        (("data.images_per_class=1",), r"config\.data\.images_per_class: 1 gives .* at least 2"),
        (("data.images_per_class=4",), r"config\.train\.batch: 24 rows .* at least 32"),
        (
            ("meta.domains=0", "objective=[{'name': 'scatter'}]", "data.sampler=pairs"),
            r"config\.data\.sampler: 'pairs', but the term 'scatter'",
        ),
    ],
)
def test_what_makes_no_meta_update_is_one_line(overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        devices.check_devices(made(*META, *overrides))  # before anything is loaded or written
    assert "\n" not in str(caught.value)


def first_meta_update(config: Config) -> int:
    """The step from which a training's hook moves gates."""
    hook = build.recipe(config).after_update
    assert isinstance(hook, metabin.MetaBIN)
    return hook.meta.start


def test_the_first_meta_update_is_where_the_backbone_begins_to_learn() -> None:
    for overrides, first in (((), 1), (("optimizer.new_only=9",), 9), (("meta.start=12",), 12)):
        assert first_meta_update(made(*META, "train.steps=20", *overrides)) == first
    both = ("meta.start=12", "optimizer.new_only=9", "train.steps=20")
    assert first_meta_update(made(*META, *both)) == 12
