"""The losses over domains: by hand, against loops where a class lies in many domains, as terms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_domains
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError
from abe_jax.losses import Scatter, Shuffle
from abe_jax.losses.batch import PlainVectors

B, M, D = 12, 2, 5
DOMAINS = np.repeat(np.arange(3, dtype=np.int32), 4)
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 0, 1, 3, 3, 2], np.int32)  # of one class in two domains


def batch(seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(B, M, D))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def test_scatter_by_hand() -> None:
    # Domain 0: two vectors at a right angle, cosine 1 / sqrt 2 with their middle. Domain 1: one.
    x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    actual = losses.scatter(x, jnp.array([7, 7, 9]))
    assert float(actual) == pytest.approx((0.5**0.5 + 1) / 2, rel=1e-6)


def test_shuffle_by_hand() -> None:
    line = jnp.array([[0.0], [1.0], [3.0], [3.5]])
    labels, domains = jnp.array([0, 1, 0, 0]), jnp.array([0, 0, 1, 1])
    # Row 0: farthest of the other domain 3.5, nearest of its own and another class 1. Row 1: 2.5
    # and 1. Rows 2 and 3 have no other class in their domain: no anchors.
    expected = (np.log1p(np.exp(3.5 - 1)) + np.log1p(np.exp(2.5 - 1))) / 2
    assert float(losses.shuffle(line, labels, domains)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mask", [None, np.arange(B) % 5 != 0], ids=["all", "masked"])
def test_value_and_gradient_are_the_loops_where_a_class_lies_in_many_domains(
    mask: np.ndarray | None,
) -> None:
    x, towards = batch(), np.random.default_rng(1).normal(size=(B, M, D))
    here = None if mask is None else jnp.asarray(mask)
    labels, domains = jnp.asarray(LABELS), jnp.asarray(DOMAINS)
    for ours, theirs in (
        (
            lambda x: losses.scatter(x, domains, mask=here),
            lambda x: oracles_domains.scatter(x, DOMAINS, mask=mask),
        ),
        (
            lambda x: losses.shuffle(x, labels, domains, mask=here),
            lambda x: oracles_domains.shuffle(x, LABELS, DOMAINS, mask=mask),
        ),
    ):
        value, gradient = jax.jit(jax.value_and_grad(ours))(jnp.asarray(x))
        assert float(value) == pytest.approx(theirs(x), rel=1e-5)
        expected = oracles.slope(theirs, x.astype(np.float64), towards)
        assert abs(expected) > 1e-2
        assert (np.asarray(gradient) * towards).sum() == pytest.approx(expected, rel=1e-3)


def test_vectors_without_learners_are_one_learner() -> None:
    x, labels, domains = jnp.asarray(batch()), jnp.asarray(LABELS), jnp.asarray(DOMAINS)
    for loss in (
        lambda x: losses.scatter(x, domains),
        lambda x: losses.shuffle(x, labels, domains),
    ):
        compiled = jax.jit(loss)
        each = [float(compiled(x[:, p])) for p in range(M)]
        assert float(compiled(x)) == pytest.approx(sum(each), rel=1e-6)


def test_blocks() -> None:
    assert losses.blocks(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert losses.blocks(4, 1).tolist() == [0, 0, 0, 0]


def test_as_terms_they_take_the_batchs_domains() -> None:
    x, labels, domains = jnp.asarray(batch()), jnp.asarray(LABELS), jnp.asarray(DOMAINS)
    made = PlainVectors(9 * x, x)
    rows, mask = jnp.arange(B), jnp.ones(B, bool)
    objective = losses.Objective(2.0 * Scatter() + Shuffle(), domain_blocks=3)
    actual: Any = objective.apply({}, made, labels, rows, mask)
    total, values = actual
    assert float(values["scatter"]) == pytest.approx(float(losses.scatter(x, domains)))
    assert float(values["shuffle"]) == pytest.approx(float(losses.shuffle(x, labels, domains)))
    assert float(total) == pytest.approx(float(2 * values["scatter"] + values["shuffle"]))
    with pytest.raises(ArgumentError, match="domains: a loss over domains needs those of the rows"):
        losses.Objective(Scatter()).apply({}, made, labels, rows, mask)
