"""A batch in chunks takes the step of the whole batch; batch normalisation's statistics apart."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import inshop_data
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from device_traffic import CLASSES, Matrix, a_batch
from jax import lax
from step_cases import RUNS, Run
from test_step_devices import Written, assert_equal, taken
from tiny_config import SMALLER

from abe_jax.config import build, devices, files
from abe_jax.data.loader import Batch
from abe_jax.errors import UserError
from abe_jax.losses import (
    Adversarial,
    Contrastive,
    CrossEntropy,
    Landmarks,
    Margin,
    Objective,
)
from abe_jax.training import state as states
from abe_jax.training.gradient import AXIS, Gradient
from abe_jax.training.state import TrainState

TINY = Path(__file__).with_name("tiny_config.py")
WITHOUT_NORM = "model.norm=none"
# In float64: what differs is then a mistake and no rounding. "every loss" has 14 terms, "boosting"
# losses that read kernels, "cascade" dropout by a row's place, "fashion" predictions and points.
KINDS = {
    "every loss": (WITHOUT_NORM,),
    "boosting": (WITHOUT_NORM,),
    "cascade": (WITHOUT_NORM,),
    "over domains": (WITHOUT_NORM, "data.sampler=domains", "data.domains_per_batch=4"),
    "fashion": (),
    "fashion, given points": (),
    "running statistics": ("model.freeze_norm=True",),
}
OWN = {"over domains": "two levels", "running statistics": "few losses"}
Steps = Callable[[str, int, int], Written]


def run(kind: str, chunks: int) -> Run:
    of = RUNS[OWN.get(kind, kind)]
    overrides = () if kind == "over domains" else of.overrides  # without meta-learning
    overrides = (*overrides, *KINDS[kind], f"train.chunks={chunks}")
    return dataclasses.replace(of, overrides=overrides, double=True)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Steps:
    """What a kind's steps come to, by the number of devices and of chunks."""
    inshop_data.prepare(tiny_data)
    compiled = tmp_path_factory.mktemp("compiled")

    @functools.cache
    def found(kind: str, devices: int, chunks: int) -> Written:
        target = tmp_path_factory.mktemp("steps") / "written.npz"
        return taken(run(kind, chunks), devices, target, tiny_data, compiled)

    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "devices"), [*((kind, 2) for kind in KINDS), ("every loss", 1), ("every loss", 8)]
)
def test_chunks_take_the_step_of_the_whole_batch(kind: str, devices: int, steps: Steps) -> None:
    chunks = 2 if devices == 8 else 4  # of batches of 16 rows, 2 are on each of 8 devices
    assert_equal(steps(kind, 1, 1), steps(kind, devices, chunks), 1e-9)


TX = optax.sgd(0.1)


def gradient_of(gradient: Gradient, state: TrainState, batch: Batch) -> Any:
    """Gradients, running statistics and metrics on one device."""

    def one(state: TrainState, batch: Batch) -> Any:
        grads, rest = gradient(state, batch, jax.random.key(3), lambda own: own)
        return lax.pmean(grads, AXIS), *rest

    rows = jax.tree.map(lambda leaf: leaf[None], (state, batch))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], jax.pmap(one, axis_name=AXIS)(*rows))


def as_floats(pixels: Any) -> Any:
    return pixels.astype(jnp.float32) / 255


def close(found: Any, expected: Any) -> None:
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True
    ):
        bound = 2e-5 * np.abs(other).max(initial=1e-3)
        np.testing.assert_allclose(one, other, 2e-5, bound, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
@pytest.mark.usefixtures("promotion")
def test_the_gradient_of_a_loss_of_each_kind_is_that_of_the_whole_batch() -> None:
    """Of pairs, of parameters of its own, on kernels, of predictions, and one that draws."""
    terms = Contrastive() + CrossEntropy() + Adversarial(hidden=4) + Landmarks() + Margin()
    objective = Objective(terms, CLASSES)
    batch, model = a_batch(), Matrix()
    state = states.create(model, objective, TX, batch.images.shape[1:], 0)
    complete, parts = (
        gradient_of(Gradient(model, objective, as_floats, chunks), state, batch)
        for chunks in (1, 4)
    )
    close(parts, complete)
    moved = [np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(complete[0])]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.slow
@pytest.mark.usefixtures("promotion")
def test_batch_normalisation_takes_its_statistics_of_each_chunk() -> None:
    """Against a loop over the chunks that JAX differentiates as a whole."""
    made = files.load(TINY, [*SMALLER, "model.norm=batch"])
    model, objective = build.model(made.model), build.objective(made)
    rng, rows, chunks = np.random.default_rng(5), 12, 3
    images = rng.integers(0, 256, (rows, 16, 16, 1), np.uint8)
    ids = np.arange(rows, dtype=np.int32)
    batch = Batch(images, ids // 2, ids, np.ones(rows, bool))
    state = states.create(model, objective, TX, (16, 16, 1), 0)

    def loss(own: Any) -> Any:
        made = [
            model.apply(
                {"params": own, "batch_stats": state.batch_stats},
                as_floats(jnp.asarray(part)),
                train=True,
                mutable=["batch_stats"],
            )
            for part in np.split(images, chunks)
        ]
        embeddings = jax.tree.map(lambda *rows: jnp.concatenate(rows), *(e for e, _ in made))
        value, _ = objective.apply({}, embeddings, *map(jnp.asarray, batch[1:4]))
        statistics = [updated["batch_stats"] for _, updated in made]
        return value, jax.tree.map(lambda *each: sum(each) / chunks, *statistics)

    expected, statistics = jax.grad(loss, has_aux=True)(state.params["model"])
    gradient = Gradient(model, objective, as_floats, chunks)
    found, updated, _ = gradient_of(gradient, state, batch)
    close(found["model"], expected)
    close(updated, statistics)
    complete, _, _ = gradient_of(Gradient(model, objective, as_floats), state, batch)
    with pytest.raises(AssertionError):
        close(complete["model"], expected)


def test_chunks_that_cannot_be_are_refused() -> None:
    def checked(*overrides: str) -> None:
        devices.check_devices(files.load(TINY, list(overrides)))

    checked("train.batch=32", "train.chunks=8")
    with pytest.raises(UserError, match=r"train\.chunks: 32 rows a device.* 5 chunks.* is 4$"):
        checked("train.batch=32", "train.chunks=5")
    meta = ("model.norm=bin", "data.sampler=domains", "data.domains_per_batch=4", "meta.domains=2")
    with pytest.raises(UserError, match=r"train\.chunks: 2, but meta-learning"):
        checked(*meta, "train.chunks=2")
