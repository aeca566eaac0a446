"""What reaches the training step: the mask of a batch, the key of a step, the rate of a parameter.

The network here gives the pixels themselves, so that a step compiles in a moment.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from abe_jax.config import build, files
from abe_jax.data.loader import Batch
from abe_jax.losses import Contrastive, Margin, Objective
from abe_jax.losses.batch import PlainVectors
from abe_jax.training import step
from abe_jax.training.gradient import Gradient
from abe_jax.training.state import TrainState

ROWS, LOST = 8, 5
TERMS = Contrastive() + Margin(learned=False)
MASKED = ("contrastive", "cosine", "positive_distance", "negative_distance")

pytestmark = pytest.mark.usefixtures("promotion")


class Pixels:
    """Two learners, whose vectors are halves of the pixels."""

    def clone(self, axis_name: str) -> "Pixels":
        return self

    def apply(self, variables: Any, pixels: Any, train: bool, mutable: Any, rngs: Any) -> Any:
        vectors = variables["params"]["scale"] * pixels.reshape(len(pixels), 2, -1)
        return PlainVectors(vectors, vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)), {}


TX = optax.set_to_zero()


@functools.cache
def compiled(seed: int) -> Any:
    def preprocess(pixels: Any) -> Any:
        return pixels.astype(jnp.float32)

    return step.train_step(Gradient(Pixels(), Objective(TERMS), preprocess), TX, seed)


def measured(batch: Batch, *, seed: int = 0, at: int = 0) -> dict[str, float]:
    """The metrics of a step `at` on a batch."""
    params = {"model": {"scale": np.float32(1)}, "objective": {}}
    state = TrainState(step=np.int32(at), params=params, batch_stats={}, opt_state=TX.init(params))
    return step.fetch(compiled(seed)(step.replicate(state), batch)[1])


def batch(last: int = 0, mask: bool = True) -> Batch:
    """Rows of two classes; `last` draws the pixels of row LOST, and `mask` says if it is there."""
    images = np.random.default_rng(7).integers(0, 255, (ROWS, 4, 4, 1), np.uint8)
    images[LOST] = np.random.default_rng(last).integers(0, 255, (4, 4, 1), np.uint8)
    ids = np.arange(ROWS, dtype=np.int32)
    there = np.ones(ROWS, bool)
    there[LOST] = mask
    return Batch(images, ids % 2, ids, there)


def test_a_row_that_is_not_there_is_in_no_loss_and_no_diagnostic() -> None:
    one, other = (measured(batch(last, mask=False)) for last in (1, 2))
    there = measured(batch(1, mask=True))
    for name in MASKED:
        assert one[name] == other[name], name
        assert one[name] != there[name], name


def test_what_a_step_draws_hangs_on_the_seed_and_on_the_step() -> None:
    drawn = [measured(batch(), seed=seed, at=at)["margin"] for seed, at in ((0, 0), (0, 1), (1, 0))]
    assert len(set(drawn)) == 3
    assert measured(batch(), seed=1, at=0)["margin"] == drawn[2]


class Noise(Pixels):
    """One learner whose vectors are the network's own draws."""

    def apply(self, variables: Any, pixels: Any, train: bool, mutable: Any, rngs: Any) -> Any:
        drawn = jax.random.normal(rngs["dropout"], (len(pixels), 1, 3))
        return PlainVectors(drawn, drawn), {}


def test_a_network_draws_by_the_seed_and_the_step() -> None:
    gradient = Gradient(Noise(), Objective(Contrastive()), jnp.float32)
    steps = [step.train_step(gradient, TX, seed) for seed in (0, 1)]

    def taken(seed: int, at: int) -> float:
        params = {"model": {"scale": np.float32(1)}, "objective": {}}
        state = TrainState(
            step=np.int32(at), params=params, batch_stats={}, opt_state=TX.init(params)
        )
        return step.fetch(steps[seed](step.replicate(state), batch())[1])["positive_distance"]

    found = [taken(seed, at) for seed, at in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert len(set(found)) == 3 and found[0] == found[3]


def test_of_a_cascade_the_last_layers_alone_have_the_rate_of_new_ones_and_biases_their_own() -> (
    None
):
    plain = ("name=sgd", "momentum=0.0", "schedule=constant", "warmup=0", "clip=0.0", "rate=0.5")
    own = ("weight_decay=0.5", "new_rate=10.0", "bias_rate=2.0")
    made = files.load(
        Path(__file__).with_name("tiny_config.py"),
        [*(f"optimizer.{one}" for one in (*plain, *own)), "model.kind=cascade", "model.dim=12"],
    )
    tx = build.recipe(made).transformation
    layer = {"kernel": np.float32(1), "bias": np.float32(1)}
    params = {"model": {part: layer for part in ("encoder", "sides", "head")}, "objective": {}}
    updates: Any = tx.update(params, tx.init(params), params)[0]
    found = {part: {k: -float(v) for k, v in own.items()} for part, own in updates["model"].items()}
    slow = {"kernel": 0.75, "bias": 1.0}  # decay acts on the kernel alone
    assert found == {"encoder": slow, "sides": slow, "head": {"kernel": 7.5, "bias": 10.0}}


def test_new_layers_have_a_multiple_of_the_rate() -> None:
    plain = ("name=sgd", "momentum=0.0", "schedule=constant", "warmup=0", "clip=0.0", "rate=0.5")
    overrides = [f"optimizer.{one}" for one in (*plain, "weight_decay=0.0", "new_rate=3.0")]
    made = files.load(Path(__file__).with_name("tiny_config.py"), overrides)
    tx = build.recipe(made).transformation
    one = {"kernel": np.float32(1)}
    parts = ("encoder", "trunk", "decoder", "head", "mask_heads")
    params = {"model": {part: one for part in parts}, "objective": {}}
    updates: Any = tx.update(params, tx.init(params), params)[0]
    rates = {part: -float(updates["model"][part]["kernel"]) for part in parts}
    assert rates == pytest.approx(dict.fromkeys(parts[:3], 0.5) | dict.fromkeys(parts[3:], 1.5))
