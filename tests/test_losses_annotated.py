"""Losses of what a network predicts beside its embedding equal loops, value and gradient."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_annotated
import pytest

from abe_jax import losses
from abe_jax.data.annotations import Annotations
from abe_jax.errors import ArgumentError
from abe_jax.losses import annotated
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.stages import stage_at
from abe_jax.models import Predictions
from abe_jax.models.ensemble import Embeddings

B, K, C, A = 5, 3, 4, 6
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(B, K, 3)).astype(np.float32)
POINTS[..., 2] = RNG.random((B, K)) < 0.6
CATEGORIES = np.array([0, 3, 1, 3, 2], np.int32)
THERE = RNG.random((B, A)) < 0.3
SHARES = tuple(np.linspace(0.05, 0.6, A).tolist())
MASK = np.array([1, 1, 0, 1, 0], bool)

# Loss -> its shape of predictions, what it compares them to, options.
CASES = {
    "landmarks": ((B, K, 2), POINTS, {}),
    "visibility": ((B, K, 2), POINTS, {}),
    "category": ((B, C), CATEGORIES, {}),
    "attributes": ((B, A), THERE, {}),
    "attributes weighed": ((B, A), THERE, {"shares": np.float32(SHARES)}),
}
each = pytest.mark.parametrize("name", CASES)


def case(name):
    shape, known, options = CASES[name]
    predicted = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    word = name.partition(" ")[0]
    loss = functools.partial(getattr(annotated, word), **jax.tree.map(jnp.asarray, options))
    return predicted, known, loss, functools.partial(getattr(oracles_annotated, word), **options)


@functools.cache
def compiled(name):
    """Loss and gradient in one program."""
    loss = case(name)[2]
    return jax.jit(jax.value_and_grad(lambda x, known, mask: loss(x, known, mask=mask)))


@each
@pytest.mark.parametrize("mask", [None, MASK, np.zeros(B, bool)], ids=["all", "some", "none"])
def test_value_and_gradient_are_the_loops(name, mask):
    predicted, known, _, loop = case(name)
    given = None if mask is None else jnp.asarray(mask)
    value, gradient = compiled(name)(predicted, known, given)
    assert value.dtype == jnp.float32 and value.shape == ()
    assert float(value) == pytest.approx(loop(predicted, known, mask=mask), rel=1e-5)
    towards = np.random.default_rng(5).normal(size=predicted.shape)
    slope = oracles.slope(lambda x: loop(x, known, mask=mask), predicted.astype(float), towards)
    assert float((gradient * towards).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-9)
    if mask is not None and not mask.any():
        assert float(value) == 0 and not gradient.any()
    else:
        assert abs(slope) > 1e-2


@each
def test_rows_that_are_absent_may_hold_anything(name):
    predicted, known, _, loop = case(name)
    predicted[~MASK] = np.nan
    found, gradient = compiled(name)(predicted, known, jnp.asarray(MASK))
    assert float(found) == pytest.approx(loop(predicted[MASK], known[MASK]), rel=1e-5)
    assert np.isfinite(gradient).all() and not np.asarray(gradient)[~MASK].any()


@each
def test_what_is_not_finite_is_not_hidden(name):
    predicted, known, _, _ = case(name)
    row = int(np.argmax(POINTS[..., 2].all(axis=1))) if name == "landmarks" else 0
    seen = np.argmax(POINTS[row, :, 2]) if name == "landmarks" else 0
    predicted[row, seen] = np.nan
    assert not np.isfinite(compiled(name)(predicted, known, np.ones(B, bool))[0])


def test_invisible_landmarks_have_no_part_in_where_they_are():
    predicted, known, _, _ = case("landmarks")
    _, gradient = compiled("landmarks")(predicted, known, jnp.ones(B, bool))
    hidden = POINTS[..., 2] == 0
    assert hidden.any() and not np.asarray(gradient)[hidden].any()
    assert np.asarray(gradient)[~hidden].all()


def test_a_category_that_is_none_makes_the_loss_nan():
    predicted = case("category")[0]
    for wrong in (-1, C):
        known = np.where(np.arange(B) == 2, wrong, CATEGORIES).astype(np.int32)
        assert np.isnan(compiled("category")(predicted, known, np.ones(B, bool))[0])


def whole_batch():
    rng = np.random.default_rng(3)
    shapes = ((B, K, 2), (B, K, 2), (B, C), (B, A))
    predicted = Predictions(*(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes))
    x = jnp.asarray(rng.normal(size=(B, 1, 8)), jnp.float32)
    known = Annotations(points=POINTS, categories=CATEGORIES, attributes=THERE)
    return Embeddings(x, x, x, predictions=predicted), jax.tree.map(jnp.asarray, known)


def test_terms_take_predictions_and_annotations_of_the_batch():
    embeddings, known = whole_batch()
    objective = losses.Objective(
        [losses.TERMS[name]() for name in losses.OF_PREDICTIONS], attribute_shares=SHARES
    )
    labels = jnp.zeros(B, jnp.int32)
    apply = jax.jit(
        lambda: objective.apply({}, embeddings, labels, mask=jnp.asarray(MASK), annotations=known)
    )
    _, values = apply()
    p = jax.tree.map(np.asarray, embeddings.predictions)
    expected = {
        "landmarks": oracles_annotated.landmarks(p.landmarks, POINTS, MASK),
        "visibility": oracles_annotated.visibility(p.visibility, POINTS, MASK),
        "category": oracles_annotated.category(p.category, CATEGORIES, MASK),
        "attributes": oracles_annotated.attributes(p.attributes, THERE, SHARES, MASK),
    }
    assert {name: float(v) for name, v in values.items()} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", losses.OF_PREDICTIONS)
def test_a_batch_without_predictions_or_annotations_is_refused(name):
    embeddings, known = whole_batch()
    labels, term = jnp.zeros(B, jnp.int32), losses.TERMS[name]()
    with pytest.raises(ArgumentError, match="kind: a network of kind 'fashion_net'"):
        term.loss(GlobalBatch(embeddings.replace(predictions=None), labels, annotations=known), {})
    with pytest.raises(ArgumentError, match="annotations: the images come without"):
        term.loss(GlobalBatch(embeddings, labels), {})


STAGES = (
    losses.TrainingStage(steps=2, factors=(1.0, 0.25)),
    losses.TrainingStage(steps=3, factors=(0.0, 2.0)),
    losses.TrainingStage(steps=1),
)


def test_stages_follow_each_other_and_begin_anew():
    found = [int(stage_at(STAGES, jnp.int32(step))) for step in range(14)]
    assert found == [0, 0, 1, 1, 1, 2, 0, 0, 1, 1, 1, 2, 0, 0]


def test_factors_multiply_the_weights_and_not_the_values():
    embeddings, known = whole_batch()
    terms = [losses.Landmarks(weight=3.0), losses.Category()]
    objective = losses.Objective(terms, stages=STAGES)
    labels = jnp.zeros(B, jnp.int32)

    def at(step):
        step = None if step is None else jnp.int32(step)
        return objective.apply({}, embeddings, labels, annotations=known, step=step)

    value = {name: float(v) for name, v in at(None)[1].items()}
    for step, (one, other) in {0: (1, 0.25), 2: (0, 2), 5: (1, 1), 8: (0, 2), None: (1, 1)}.items():
        total, values = at(step)
        expected = 3 * one * value["landmarks"] + other * value["category"]
        assert float(total) == pytest.approx(expected, rel=1e-6)
        assert {name: float(v) for name, v in values.items()} == value


def test_a_stage_has_a_factor_for_each_term():
    with pytest.raises(ArgumentError, match="stages: stage 1 has 2 factors for 3 terms"):
        losses.stages.check((losses.TrainingStage(), STAGES[0]), 3)
