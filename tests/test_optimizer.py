"""The optimiser against hand-computed steps: schedules, decay, clipping, parameter groups."""

from typing import Any

import jax
import numpy as np
import pytest

from abe_jax.errors import UserError
from abe_jax.training.optimizer import Optimizer

STEPS = 20
PARAMS = {
    "encoder": {"kernel": np.array([[1.0, -2.0]], np.float32), "bias": np.array([3.0], np.float32)},
    "head": {"kernel": np.array([[0.5], [4.0]], np.float32), "bias": np.array([-1.0], np.float32)},
}
GRADS = {
    "encoder": {"kernel": np.array([[3.0, 0.0]], np.float32), "bias": np.array([0.0], np.float32)},
    "head": {"kernel": np.array([[0.0], [4.0]], np.float32), "bias": np.array([12.0], np.float32)},
}


pytestmark = pytest.mark.usefixtures("promotion")


def updates(steps: int = 1, **options: Any) -> list[Any]:
    """The updates of so many steps with the same gradients, parameters staying as they are."""
    config = Optimizer(**options)
    tx = config.build(STEPS, lambda path: config.new_rate if path[0] == "head" else 1.0)
    state, found = tx.init(PARAMS), []
    for _ in range(steps):
        update, state = tx.update(GRADS, state, PARAMS)
        found.append(jax.tree.map(np.asarray, update))
    return found


def assert_close(found: Any, expected: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def rates(**options: Any) -> list[float]:
    schedule = Optimizer(**options).rates(STEPS)
    return [float(np.asarray(schedule(step))) for step in range(STEPS + 1)]


def test_constant_and_warm_up() -> None:
    assert rates(rate=0.5) == [0.5] * 21
    np.testing.assert_allclose(rates(rate=0.4, warmup=4)[:6], [0, 0.1, 0.2, 0.3, 0.4, 0.4])


def test_cosine_reaches_its_height_after_the_warm_up_and_zero_at_the_end() -> None:
    found = rates(rate=0.4, warmup=4, schedule="cosine")
    after = 0.4 * (1 + np.cos(np.pi * np.arange(17) / 16)) / 2
    np.testing.assert_allclose(found[4:], after, atol=1e-7)


def test_steps_fall_where_they_are_named_whatever_the_warm_up() -> None:
    for warmup in (0, 4):
        found = rates(rate=1.0, warmup=warmup, schedule="step", boundaries=(6, 10), factor=0.5)
        np.testing.assert_allclose(found[warmup:], [1] * (6 - warmup) + [0.5] * 4 + [0.25] * 11)


@pytest.mark.parametrize("boundaries", [(), (3,), (6, 6), (8, 7)])
def test_boundaries_that_make_no_schedule_are_refused(boundaries: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"^boundaries: "):
        rates(schedule="step", warmup=3, boundaries=boundaries)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "adan"}, "did you mean 'adam'"),
        ({"schedule": "steps"}, "did you mean 'step'"),
        ({"warmup": STEPS}, "leave nothing"),
    ],
)
def test_names_and_numbers_that_make_no_optimiser(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        updates(**options)


def test_of_a_training_without_steps_every_schedule_is_one() -> None:
    for name in ("constant", "cosine", "step"):
        made = Optimizer(schedule=name, warmup=3, boundaries=(5,), rate=0.1)
        assert made.rates(0)(0) == 0.1
    with pytest.raises(UserError, match="schedule: nothing is called"):
        Optimizer(schedule="cosin").rates(0)


def test_sgd_with_momentum() -> None:
    first, second = updates(2, name="sgd", rate=0.1, momentum=0.9)
    assert_close(first, jax.tree.map(lambda g: -0.1 * g, GRADS))
    assert_close(second, jax.tree.map(lambda g: -0.1 * 1.9 * g, GRADS))


def test_adam_steps_by_the_sign_at_first() -> None:
    (first,) = updates(name="adam", rate=0.1)
    assert_close(first, jax.tree.map(lambda g: -0.1 * np.sign(g), GRADS))


def test_decay_acts_on_proxies_as_on_kernels() -> None:
    leaves = ("proxies", "kernel", "bias", "scale", "p", "beta")
    params = {"loss": {name: np.array([2.0], np.float32) for name in leaves}}
    grads = jax.tree.map(np.zeros_like, params)
    config = Optimizer(name="sgd", rate=0.1, momentum=0.0, weight_decay=0.5)
    tx = config.build(STEPS, lambda path: 1.0)
    update: Any = tx.update(grads, tx.init(params), params)[0]
    found = {name: float(leaf[0]) for name, leaf in update["loss"].items()}
    expected = dict.fromkeys(leaves, 0.0) | {"proxies": -0.1, "kernel": -0.1}
    assert found == pytest.approx(expected, rel=1e-5)


def test_decay_acts_on_kernels_alone_and_goes_through_the_momentum_of_sgd() -> None:
    first, second = updates(2, name="sgd", rate=0.1, momentum=0.9, weight_decay=0.5)
    expected = {
        part: {
            "kernel": -0.1 * (GRADS[part]["kernel"] + 0.5 * PARAMS[part]["kernel"]),
            "bias": -0.1 * GRADS[part]["bias"],
        }
        for part in PARAMS
    }
    assert_close(first, expected)
    assert_close(second, jax.tree.map(lambda u: 1.9 * u, expected))


def test_decay_is_part_of_adams_gradient_and_apart_from_adamws() -> None:
    (coupled,) = updates(name="adam", rate=0.1, weight_decay=0.5)
    (decoupled,) = updates(name="adamw", rate=0.1, weight_decay=0.5)
    kernel = PARAMS["encoder"]["kernel"]
    direction = np.sign(GRADS["encoder"]["kernel"] + 0.5 * kernel)
    np.testing.assert_allclose(coupled["encoder"]["kernel"], -0.1 * direction, rtol=1e-5)
    expected = -0.1 * (np.sign(GRADS["encoder"]["kernel"]) + 0.5 * kernel)
    np.testing.assert_allclose(decoupled["encoder"]["kernel"], expected, rtol=1e-5)
    np.testing.assert_allclose(decoupled["head"]["bias"], [-0.1], rtol=1e-5)


def test_decay_of_all_leaves_gates_alone_and_biases_have_a_rate_of_their_own() -> None:
    leaves = ("kernel", "bias", "scale", "instance_scale", "instance_bias", "gate", "proxies")
    params = {"layer": {name: np.array([2.0], np.float32) for name in leaves}}
    grads = jax.tree.map(np.zeros_like, params)
    options = {"weight_decay": 0.5, "decay_all": True, "bias_rate": 2.0, "momentum": 0.0}
    tx = Optimizer(name="sgd", rate=0.1, **options).build(STEPS, lambda path: 1.0)
    update: Any = tx.update(grads, tx.init(params), params)[0]
    found = {name: float(leaf[0]) for name, leaf in update["layer"].items()}
    expected = dict.fromkeys(leaves, -0.1) | {"bias": -0.2, "instance_bias": -0.2, "gate": 0.0}
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_rate_of_biases_comes_on_top_of_that_of_new_layers() -> None:
    (plain,) = updates(name="sgd", rate=0.1)
    (found,) = updates(name="sgd", rate=0.1, bias_rate=2.0, new_rate=10.0)
    for part, factor in (("encoder", 1), ("head", 10)):
        assert_close(found[part]["kernel"], factor * plain[part]["kernel"])
        assert_close(found[part]["bias"], 2 * factor * plain[part]["bias"])


def test_clipping_scales_the_whole_gradient_before_decay() -> None:
    (found,) = updates(name="sgd", rate=1.0, clip=6.5, weight_decay=0.5)  # its norm is 13
    expected = -(0.5 * GRADS["head"]["kernel"] + 0.5 * PARAMS["head"]["kernel"])
    np.testing.assert_allclose(found["head"]["kernel"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["head"]["bias"], [-6.0], rtol=1e-5)
    (complete,) = updates(name="sgd", rate=1.0, clip=13.5)
    assert_close(complete, jax.tree.map(np.negative, GRADS))


def test_new_layers_have_a_rate_of_their_own_decay_included() -> None:
    (same,) = updates(name="adamw", rate=0.1, weight_decay=0.5)
    (other,) = updates(name="adamw", rate=0.1, weight_decay=0.5, new_rate=10.0)
    assert_close(other["encoder"], same["encoder"])
    assert_close(other["head"], jax.tree.map(lambda u: 10 * u, same["head"]))
