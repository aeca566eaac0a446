"""Among how many negatives an anchor draws: the two numerics in 64, 512 and 2048 dimensions."""

import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.losses.distance_weighted import effective_negatives, logits

ROWS, EACH = 96, 4
LABELS = np.arange(ROWS, dtype=np.int32) // EACH
NEGATIVES = ROWS - EACH


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def even(size, seed=0):
    """Anywhere on the sphere: distances gather about the square root of two."""
    return unit(np.random.default_rng(seed).standard_normal((ROWS, size)))


def clustered(size, seed=0):
    """A centre for each class, all of them on one side of the sphere, as of a network's vectors."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal(size) + rng.standard_normal((ROWS // EACH, size))
    return unit(np.repeat(centres, EACH, axis=0) + 0.5 * rng.standard_normal((ROWS, size)))


def measured(x, numerics):
    """Effective negatives of each row, and the share of rows that draw evenly from all."""
    logs = logits(jnp.asarray(x)[:, None], jnp.asarray(LABELS), numerics=numerics)
    actual = np.asarray(effective_negatives(logs))[0]
    return actual, float(np.mean(actual > 0.999 * NEGATIVES))


def by_definition(x, numerics="row_maximum", farthest=1.4):
    """In float64: exp of the entropy of w(d) over the negatives nearer than `farthest`.

    `global_maximum` takes the maximum over all pairs, a row 1 from itself, and float32's exp.
    """
    x, size, actual = x.astype(np.float64), x.shape[-1], []
    d = np.linalg.norm(x[:, None] - x[None], axis=-1)
    np.fill_diagonal(d, 1.0)
    near = (LABELS[:, None] != LABELS) & (d < farthest)
    d = np.maximum(d, 0.5)
    log_w = (2 - size) * np.log(d) - (size - 3) / 2 * np.log(1 - d * d / 4)
    for i in range(ROWS):
        if numerics == "row_maximum":
            p = np.exp(log_w[i][near[i]] - log_w[i][near[i]].max())
        else:
            p = np.exp(log_w[i][near[i]] - log_w.max()).astype(np.float32).astype(np.float64)
            p = p if p.any() else np.ones(NEGATIVES)
        p = p[p > 0] / p.sum()
        actual.append(np.exp(-(p * np.log(p)).sum()))
    return np.array(actual)


@pytest.mark.parametrize("spread", [even, clustered])
@pytest.mark.parametrize("size", [64, 512, 2048])
def test_row_maximum_draws_as_the_formula_says_in_any_dimension(spread, size):
    x = spread(size)
    actual, evenly = measured(x, "row_maximum")
    np.testing.assert_allclose(actual, by_definition(x), rtol=0.01)
    assert evenly == 0.0


def test_row_maximum_leaves_about_one_negative_in_many_dimensions():
    medians = [np.median(measured(clustered(size), "row_maximum")[0]) for size in (64, 512, 2048)]
    assert medians[0] > 5
    assert 1.5 < medians[1] < 4
    assert 1.0 <= medians[2] < 1.6
    # Not so where vectors keep to no side: in 2048 dimensions all lie about as far.
    assert np.median(measured(even(2048), "row_maximum")[0]) > 5


@pytest.mark.parametrize("spread", [even, clustered])
@pytest.mark.parametrize("size", [64, 128, 512, 2048])
def test_global_maximum_draws_as_the_public_code_in_any_dimension(spread, size):
    x = spread(size)
    expected = by_definition(x, "global_maximum")
    np.testing.assert_allclose(measured(x, "global_maximum")[0], expected, rtol=0.01)


def test_global_maximum_is_the_formula_until_it_underflows_to_an_even_draw():
    for spread in (even, clustered):
        few, evenly = measured(spread(64), "global_maximum")
        assert evenly == 0.0
        np.testing.assert_allclose(few, measured(spread(64), "row_maximum")[0], rtol=1e-3)
    # Nothing underflows where no two vectors are near; at 2,048 dimensions all does.
    for size in (128, 512):
        found, evenly = measured(even(size), "global_maximum")
        assert evenly == 0.0
        np.testing.assert_allclose(found, measured(even(size), "row_maximum")[0], rtol=1e-3)
    many, evenly = measured(even(2048), "global_maximum")
    assert evenly == 1.0
    np.testing.assert_allclose(many, NEGATIVES, rtol=1e-3)


@pytest.mark.parametrize("numerics", ["row_maximum", "global_maximum"])
def test_only_negatives_count_and_a_row_without_any_has_none(numerics):
    x = np.zeros((4, 1, 3), np.float32)
    x[:, 0, 0] = 1.0  # all on one point, so all negatives weigh the same
    labels = jnp.array([0, 0, 1, 2])
    actual = effective_negatives(logits(jnp.asarray(x), labels, numerics=numerics))
    np.testing.assert_allclose(actual, [[2, 2, 3, 3]], rtol=1e-5)
    alone = effective_negatives(logits(jnp.asarray(x), jnp.zeros(4, jnp.int32), numerics=numerics))
    np.testing.assert_array_equal(alone, np.zeros((1, 4), np.float32))
