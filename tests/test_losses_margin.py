"""The margin loss: its learned boundary, and how its negatives are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_pairs
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError
from abe_jax.losses import Margin
from abe_jax.losses.batch import PlainVectors
from abe_jax.losses.distance_weighted import logits

LABELS = np.array([0, 0, 0, 1, 1, 2, 3, 3], np.int32)
ROWS = jnp.asarray(LABELS)
B, M, D = 8, 2, 4
MASK = np.array([1, 1, 1, 1, 1, 1, 1, 0], bool)


def vectors(size=D, rows=B, learners=M, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, learners, size))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def exact_probabilities(x, labels, numerics, mask=None, nearest=0.5, farthest=1.4):
    """In float64, but for the underflow of global_maximum, which is the algorithm.

    There a row is 1 from itself (MultiGrain's public code).
    """
    x, size = np.asarray(x, np.float64), x.shape[-1]
    here = np.ones(len(x), bool) if mask is None else mask
    distances = np.linalg.norm(x[:, None] - x[None], axis=-1)
    np.fill_diagonal(distances, 1.0)
    d = np.maximum(distances, nearest)
    logs = (2 - size) * np.log(d) - (size - 3) / 2 * np.log(np.maximum(1 - d**2 / 4, 1e-8))
    negative = (labels[:, None] != labels[None]) & here[:, None] & here[None]
    near = negative & (distances < farthest)
    result = np.zeros_like(distances)
    for i, row in enumerate(near):
        top = logs[here][:, here].max() if numerics == "global_maximum" else logs[i].max()
        w = np.where(row, np.exp(logs[i] - top), 0.0)
        w = w if numerics == "row_maximum" else w.astype(np.float32).astype(np.float64)
        w = w if w.any() else negative[i].astype(np.float64)
        result[i] = w / w.sum() if w.any() else w
    return result


def frequencies(x, draws=400, **options):
    """How often each row [m, b, b] came as the negative of each anchor of a positive pair."""
    draw = jax.jit(jax.vmap(lambda key: losses.distance_weighted(key, x, ROWS, **options)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(7), draws)))
    result = np.zeros((x.shape[1], B, B))
    for p, i, j in np.argwhere(np.ones((x.shape[1], B, B))):
        if i != j and LABELS[i] == LABELS[j]:
            result[p, i] += np.bincount(drawn[:, p, i, j], minlength=B)
    return result / np.maximum(result.sum(axis=-1, keepdims=True), 1.0)


@pytest.mark.parametrize("numerics", ["row_maximum", "global_maximum"])
def test_in_few_dimensions_both_numerics_draw_by_the_exact_weights(numerics):
    x = vectors()
    actual = frequencies(jnp.asarray(x), draws=2000, numerics=numerics)
    for p in range(M):
        expected = exact_probabilities(x[:, p], LABELS, numerics)
        anchors = [i for i in range(B) if (LABELS[i] == LABELS).sum() > 1]
        np.testing.assert_allclose(actual[p][anchors], expected[anchors], atol=0.05)
        assert not actual[p][anchors][expected[anchors] == 0].any()
    assert np.abs(actual[0] - actual[1]).max() > 0.2  # the learners differ


@pytest.mark.parametrize("numerics", ["row_maximum", "global_maximum"])
def test_logits_are_the_exact_probabilities(numerics):
    for size in (4, 64, 512):
        x = vectors(size, seed=3)
        x[0:6:3] = x[6] + 0.05 * x[0:6:3]  # some nearer than random vectors ever are
        x /= np.linalg.norm(x, axis=-1, keepdims=True)
        logs = logits(jnp.asarray(x), ROWS, numerics=numerics, mask=jnp.asarray(MASK))
        actual = np.where(MASK[:, None], jax.nn.softmax(logs, axis=-1), 0.0)
        for p in range(M):
            expected = exact_probabilities(x[:, p], LABELS, numerics, MASK)
            np.testing.assert_allclose(actual[p], expected, atol=1e-3)


def test_half_precision_is_weighed_in_float32():
    half = jnp.asarray(vectors()).astype(jnp.bfloat16)
    actual = logits(half, ROWS)
    assert actual.dtype == jnp.float32
    np.testing.assert_array_equal(actual, logits(half.astype(jnp.float32), ROWS))


def test_in_many_dimensions_the_two_numerics_are_two_algorithms():
    x = vectors(2048, learners=1)
    x[5] = x[0] + 0.8 * x[5]  # the one negative that lies near row 0
    x[7] = x[6] + 0.3 * x[7]  # a positive pair that is nearer still
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    row = frequencies(jnp.asarray(x), numerics="row_maximum", farthest=2.0)[0, 0]
    assert row[5] == 1.0
    even = frequencies(jnp.asarray(x), numerics="global_maximum", farthest=2.0)[0, 0]
    np.testing.assert_allclose(even, (LABELS != 0) / 5, atol=0.08)


def test_a_row_counts_as_1_from_itself_where_the_global_maximum_is_taken():
    x = np.eye(8, 512, dtype=np.float32)[:, None]  # all apart by the root of 2
    x[5, 0] = x[0, 0] + 0.75 * x[5, 0]
    x[5] /= np.linalg.norm(x[5])
    logs = logits(jnp.asarray(x), ROWS, numerics="global_maximum", farthest=2.0)
    actual = np.asarray(jax.nn.softmax(logs, axis=-1))[0]
    # By 0.5 for 1 every weight here would be 0 and rows 0 and 5 would draw evenly.
    np.testing.assert_allclose(actual[0], np.eye(8)[5], atol=1e-6)
    np.testing.assert_allclose(actual[1], np.array([0, 0, 0, 1, 1, 1, 1, 1]) / 5, rtol=1e-4)
    expected = exact_probabilities(x[:, 0], LABELS, "global_maximum", farthest=2.0)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_negatives_far_away_are_drawn_only_where_there_are_no_others():
    x = jnp.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0.6, 0.8], [-1, 0], [-1, 0]])[:, None]
    actual = frequencies(x, numerics="row_maximum", farthest=1.0)[0]
    assert actual[0, 5] == 1.0  # at 0.89; the others from 1.4 on
    np.testing.assert_allclose(actual[6], (LABELS != 3) / 6, atol=0.08)


def test_without_replacement_an_anchor_takes_every_negative_before_it_repeats():
    labels = jnp.array([0, 0, 0, 0, 1, 2, 3])
    x = jnp.asarray(vectors(16, rows=7))

    def draw(key):
        return losses.distance_weighted(key, x, labels, replacement=False, farthest=9.0)

    first = []
    for negatives in np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 50))):
        for i in range(4):
            chosen = [negatives[0, i, j] for j in range(4) if j != i]
            assert sorted(chosen) == [4, 5, 6]
        first.append(negatives[0, 0, 1])
    assert len(set(first)) > 1


def test_drawn_negatives_make_the_oracles_loss_and_gradient():
    x = vectors()
    here = jnp.asarray(MASK)
    negatives = losses.distance_weighted(jax.random.key(2), jnp.asarray(x), ROWS, mask=here)
    beta = np.array([1.2, 0.8])

    def loss(x, beta):
        return losses.margin_loss(x, ROWS, beta, negatives=negatives, mask=here)

    of = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, (gradient, towards_beta) = of(jnp.asarray(x), jnp.asarray(beta, jnp.float32))
    # The oracle's rows are those left by the mask: the absent one is the last.
    options = {"mask": MASK, "negatives": np.asarray(negatives)}

    def exact(at, beta=beta):
        return oracles_pairs.margin_loss(at, LABELS, beta=beta, **options)

    assert float(value) == pytest.approx(exact(x), rel=1e-5)
    towards = np.random.default_rng(5).normal(size=x.shape)
    slope = oracles.slope(exact, x.astype(np.float64), towards)
    assert (np.asarray(gradient) * towards).sum() == pytest.approx(slope, rel=1e-4)
    for p in range(M):
        one = np.eye(M)[p]
        slope = oracles.slope(lambda at: exact(x, at), beta, one)
        assert abs(slope) > 1e-2
        assert towards_beta[p] == pytest.approx(slope, rel=1e-4)


def batch(x, mask=None):
    mask = jnp.ones(B, bool) if mask is None else mask
    return PlainVectors(x, x), ROWS, jnp.arange(B) // 2, mask, jax.random.key(0)


def test_beta_is_a_parameter_of_the_term_for_each_learner():
    x = jnp.asarray(vectors())
    terms = (
        Margin(beta=0.9),
        Margin(beta=0.7, learned=False),
        Margin(label="instance", sampling="all"),
    )
    objective = losses.Objective(terms)
    variables = objective.init(jax.random.key(0), *batch(x))
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {"margin": {"beta": (M,)}, "margin_3": {"beta": (M,)}}
    assert (variables["params"]["margin"]["beta"] == jnp.float32(0.9)).all()

    def total(variables, *given):
        return objective.apply(variables, *given)

    step = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, values), gradient = step(variables, *batch(x))
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))
    by_instance = losses.margin_loss(x, jnp.arange(B) // 2)
    assert float(values["margin_3"]) == pytest.approx(float(by_instance), rel=1e-6)


DEGENERATE = {
    "one class": (vectors(), np.zeros(B, np.int32), None),
    "no positive": (vectors(), np.arange(B, dtype=np.int32), None),
    "collapse": (np.ones((B, M, D), np.float32) / 2, LABELS, None),
    "zeros": (np.zeros((B, M, D), np.float32), LABELS, None),
    "opposite": (vectors() * np.where(LABELS > 0, 1, -1)[:, None, None], LABELS, None),
    "nothing there": (vectors(), LABELS, np.zeros(B, bool)),
}


@pytest.fixture(scope="module", params=["row_maximum", "global_maximum"])
def drawn(request):
    def loss(x, labels, mask, key):
        negatives = losses.distance_weighted(key, x, labels, numerics=request.param, mask=mask)
        return losses.margin_loss(x, labels, negatives=negatives, mask=mask)

    return jax.jit(jax.value_and_grad(loss))


@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_batches_are_finite_when_negatives_are_drawn(drawn, kind):
    x, labels, mask = DEGENERATE[kind]
    mask = np.ones(B, bool) if mask is None else mask
    value, gradient = drawn(jnp.asarray(x), labels, mask, jax.random.key(0))
    assert np.isfinite(value) and value.dtype == jnp.float32
    assert np.isfinite(gradient).all()
    if kind in ("no positive", "nothing there"):
        assert value == 0 and not np.asarray(gradient).any()


def test_a_real_nan_is_shown_and_an_absent_one_is_not(drawn):
    x = vectors()
    x[7, 0, 0] = np.nan
    value, gradient = drawn(jnp.asarray(x), LABELS, MASK, jax.random.key(0))
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert np.isnan(drawn(jnp.asarray(x), LABELS, ~np.zeros(B, bool), jax.random.key(0))[0])


def test_mistakes_are_named():
    x = jnp.asarray(vectors())
    with pytest.raises(ArgumentError, match="'row_maximum'"):
        losses.distance_weighted(jax.random.key(0), x, ROWS, numerics="row_max")
    with pytest.raises(ArgumentError, match="key: a loss that draws"):
        losses.Objective((Margin(learned=False),)).apply({}, *batch(x)[:-1])
    with pytest.raises(ArgumentError, match="'distance_weighted'"):
        losses.Objective((Margin(sampling="distance"),)).apply({}, *batch(x))
