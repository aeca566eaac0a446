"""How the variants of the losses differ, by numbers worked out by hand; and the objective."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError
from abe_jax.losses import Contrastive, Divergence
from abe_jax.losses.batch import PlainVectors

# Rows 0, 1 at distance 0.5 (a positive), row 2 at 0.6 from row 0 and 0.1 from row 1 (negatives),
# row 3 at 2.0 from row 0 (a negative outside the margin, of every other row's class).
LINE = jnp.array([[0.0], [0.5], [0.6], [2.0]])
CLASSES = jnp.array([7, 7, 8, 9])
# D^2: positive 0.25; negatives 0.36, 0.01, and three outside. Hinges 0.64, 0.99.
# D:   positive 0.5; negatives 0.6, 0.1, outside. Hinges 0.4, 0.9.
BY_HAND = {
    ("all", True, "sum_per_image"): 2 / 4 * (0.25 + 0.64 + 0.99),
    ("all", True, "mean"): (0.25 + 0.64 + 0.99) / 6,
    ("all", True, "mean_each"): 0.25 + (0.64 + 0.99) / 5,
    ("all", True, "mean_active"): 0.25 + (0.64 + 0.99) / 2,
    ("all", False, "sum_per_image"): 2 / 4 * (0.5 + 0.4 + 0.9),
    ("all", False, "mean"): (0.5 + 0.4 + 0.9) / 6,
    ("all", False, "mean_each"): 0.5 + (0.4 + 0.9) / 5,
    ("all", False, "mean_active"): 0.5 + (0.4 + 0.9) / 2,
    ("adjacent", True, "sum_per_image"): 2 / 4 * 0.25,
    ("adjacent", True, "mean"): 0.25 / 2,
    ("adjacent", True, "mean_each"): 0.25,
    ("adjacent", False, "mean"): 0.5 / 2,
}


@pytest.mark.parametrize("choice", BY_HAND, ids=lambda choice: "-".join(map(str, choice)))
def test_contrastive_by_hand(choice):
    which, squared, reduction = choice
    value = losses.contrastive(LINE, CLASSES, pairs=which, squared=squared, reduction=reduction)
    assert float(value) == pytest.approx(BY_HAND[choice], rel=1e-5)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("sum_per_image", 2 / 4 * (0.25 + 0.4**2 + 0.9**2)),
        ("mean_each", 0.25 + (0.4**2 + 0.9**2) / 5),
        ("mean_active", 0.25 + (0.4**2 + 0.9**2) / 2),
    ],
)
def test_the_contrastive_loss_of_the_tables_by_hand(reduction, expected):
    value = losses.contrastive(LINE, CLASSES, form="hadsell", reduction=reduction)
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("difference", "pull"), [(0.0, 0.0), (1e-12, 2.0), (1e-3, 1.998), (2.0, 0.0)]
)
def test_the_gradient_of_a_squared_hinge_is_bounded_down_to_distance_0(difference, pull):
    """d/dx (1 - D)^2 = 2 (1 - D) along the pair; at D = 0 there is no direction."""
    pair = jnp.array([[0.0, 0.0], [difference, 0.0]])

    def loss(x):
        return losses.contrastive(
            x, jnp.array([0, 1]), form="hadsell", pairs="adjacent", reduction="mean"
        )

    gradient = jax.grad(loss)(pair)
    np.testing.assert_allclose(gradient, [[pull, 0.0], [-pull, 0.0]], rtol=1e-5)


def test_the_form_with_squares_has_no_unsquared_one():
    with pytest.raises(ArgumentError, match=r"^squared: False, but form 'hadsell'"):
        losses.contrastive(LINE, CLASSES, form="hadsell", squared=False)
    with pytest.raises(ArgumentError, match=r"^squared: False, but form 'hadsell'"):
        Contrastive(form="hadsell", squared=False)


# Two images, three learners. Image 0: D = 0.5, 0.6, 0.1. Image 1: D = 3, 5, 2, all outside.
LEARNERS = jnp.array([[[0.0], [0.5], [0.6]], [[0.0], [3.0], [5.0]]])


@pytest.mark.parametrize("squared", [True, False])
def test_divergence_by_hand(squared):
    terms = 0.75 + 0.64 + 0.99 if squared else 0.5 + 0.4 + 0.9
    expected = {"sum": terms, "mean_image": terms / 2, "mean": terms / 6, "mean_active": terms / 3}
    for reduction, value in expected.items():
        actual = losses.divergence(LEARNERS, squared=squared, reduction=reduction)
        assert float(actual) == pytest.approx(value, rel=1e-5)


def test_raw_divergence_at_collapse_is_that_of_unordered_pairs():
    together = jnp.ones((64, 8, 2)) / 2**0.5
    assert float(losses.divergence(together, reduction="sum")) == 1792  # facts of the paper's case
    assert float(losses.divergence(together)) == 1


def test_contrastive_sums_learners_and_divergence_of_one_is_nothing():
    x = jax.random.normal(jax.random.key(0), (6, 3, 4))
    y = jnp.array([0, 0, 1, 1, 2, 2])
    contrastive = jax.jit(losses.contrastive)
    each = [float(contrastive(x[:, p], y)) for p in range(3)]
    assert float(contrastive(x, y)) == pytest.approx(sum(each), rel=1e-6)
    value, gradient = jax.jit(jax.value_and_grad(losses.divergence))(x[:, :1])
    assert float(value) == 0 and not np.asarray(gradient).any()


def test_nearly_equal_vectors_keep_their_distance_and_gradient():
    """Far from the origin the plain Gram form would lose D^2 = 1e-6 in rounding of 1e-3."""
    rng = np.random.default_rng(0)
    x = (100 + 1e-3 * rng.normal(size=(4, 5))).astype(np.float32)
    exact = ((x[0].astype(np.float64) - x[1]) ** 2).sum()
    y = jnp.array([0, 0, 1, 1])

    def positives(v):
        return losses.contrastive(v, y, margin=0.0, mask=jnp.array([True, True, False, False]))

    value, gradient = jax.jit(jax.value_and_grad(positives))(jnp.asarray(x))
    assert float(value) == pytest.approx(exact, rel=1e-3)
    np.testing.assert_allclose(gradient[0], 2 * (x[0] - x[1]), rtol=1e-3)


def test_gradient_survives_where_rounding_hides_the_distance():
    """D^2 = 1e-7 beside vectors of length 10: rounding makes it negative for some pairs."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(16, 8)) * 3, 2, axis=0) + 1e-4 * rng.normal(size=(32, 8))
    x, y = x.astype(np.float32), np.arange(32, dtype=np.int32) // 2

    def positives(v):
        return losses.contrastive(v, jnp.asarray(y), margin=0.0, reduction="sum_per_image")

    gradient = np.asarray(jax.jit(jax.grad(positives))(jnp.asarray(x)))
    expected = 2 / 32 * 2 * (x - x[np.arange(32) ^ 1])
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert np.abs(expected).max(axis=1).min() > 5e-6


def test_diagnostics_by_hand():
    x = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]])
    diagnostics = jax.jit(losses.diagnostics)
    actual = diagnostics(x, jnp.array([0, 0, 1]))
    assert {name: float(value) for name, value in actual.items()} == pytest.approx(
        {"cosine": 1 / 3, "positive_distance": 1.0, "negative_distance": (2.0 + 3.0) / 2}
    )
    masked = diagnostics(x, jnp.array([0, 0, 1]), jnp.array([True, False, True]))
    assert float(masked["cosine"]) == 0 and float(masked["negative_distance"]) == 2
    assert np.isnan(float(masked["positive_distance"]))  # a mean over nothing
    assert "cosine" not in diagnostics(x[:, :1], jnp.array([0, 0, 1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.contrastive(LINE, CLASSES, pairs="adjacnt"), "'adjacent'"),
        (lambda: losses.contrastive(LINE, CLASSES, reduction="sum_per_imge"), "'sum_per_image'"),
        (lambda: losses.contrastive(LINE[:3], CLASSES[:3], pairs="adjacent"), "even batch"),
        (lambda: losses.divergence(LEARNERS, reduction="mean_img"), "'mean_image'"),
        (lambda: losses.contrastive(jnp.ones((2, 3, 4, 5)), CLASSES[:2]), "not [2, 3, 4, 5]"),
        (lambda: losses.divergence(LINE), "vectors: expected shape [b, m, d], not [4, 1]"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        call()


def test_objective_is_the_weighted_sum_with_a_name_for_each_term():
    x = jax.random.normal(jax.random.key(1), (6, 3, 4))
    y, image_ids = jnp.array([0, 0, 1, 1, 2, 2]), jnp.arange(6)
    mask = jnp.arange(6) < 4
    terms = (
        Contrastive(weight=2.0, margin=0.5, reduction="mean", pairs="adjacent", squared=False),
        Divergence(weight=0.25, margin=3.0, reduction="sum"),
        Divergence(weight=1.5, margin=20.0, squared=False),
    )
    objective = losses.Objective(terms)
    batch = PlainVectors(x, x), y, image_ids, mask
    variables = objective.init(jax.random.key(0), *batch)
    assert not jax.tree.leaves(variables)
    total, values = jax.jit(objective.apply)(variables, *batch)
    expected = {
        "contrastive": losses.contrastive(
            x, y, margin=0.5, reduction="mean", pairs="adjacent", squared=False, mask=mask
        ),
        "divergence": losses.divergence(x, margin=3.0, reduction="sum", mask=mask),
        "divergence_2": losses.divergence(x, margin=20.0, squared=False, mask=mask),
    }
    for name, value in expected.items():
        assert float(values[name]) == pytest.approx(float(value), rel=1e-6)
    assert list(values) == list(expected)
    weights = [2.0, 0.25, 1.5]
    by_hand = sum(w * float(v) for w, v in zip(weights, expected.values(), strict=True))
    assert float(total) == pytest.approx(by_hand, rel=1e-6) and total.dtype == jnp.float32
