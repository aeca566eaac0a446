"""Losses on cosines: by hand, at their defaults, whatever the vectors' lengths, as terms."""

import functools
import re
from collections.abc import Callable
from math import exp, log, log1p
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_cosines
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError
from abe_jax.losses import (
    Circle,
    FastAP,
    MultiSimilarity,
    NTXent,
    RecallAtK,
    SmoothAP,
    SupCon,
)
from abe_jax.losses.batch import PlainVectors

pytestmark = pytest.mark.slow

# Cosines: 0-1 0.6 and 2-3 0.6, the positives; 0-2 0, 0-3 -0.8, 1-2 0.8, 1-3 0. Ends 0 and 3 find
# their positive first, 1 and 2 find each other first.
PLANE = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.8, 0.6]])
CLASSES = jnp.array([7, 7, 8, 8])

# Of the ends 0 and 3 and of the middle 1 and 2: the exponentials of all others' cosines.
END, MIDDLE = exp(0.6) + exp(0.0) + exp(-0.8), exp(0.6) + exp(0.8) + exp(0.0)
SOFTMAX = (log(END) + log(MIDDLE)) / 2 - 0.6
# The ends' negatives at most at 0, far below their positive: nothing is mined. The middle's at 0.8.
MINED = (log1p(exp(-2 * 0.1)) / 2 + log1p(exp(10 * 0.3)) / 10) / 2
END_CIRCLE = log1p(exp(0.4 * -0.4) + exp(0.0))  # a positive at 0.6 = 1 - m adds exp(0)
MIDDLE_CIRCLE = log1p(exp(1.2 * 0.4) + exp(0.4 * -0.4))
# Squared distances 0.8 of positives; 2 and 3.6, or 0.4 and 2, of negatives. Centres 0, 2, 4.
END_AP = 0.6 * 0.6 / 0.6 + 0.4 * 1.0 / 2.2
MIDDLE_AP = 0.6 * 0.6 / 1.4 + 0.4 * 1.0 / 3.0
STEEP: dict[str, Any] = {"rank_temperature": 1e-3}
BY_HAND: dict[str, tuple[Callable[..., jax.Array], dict[str, Any], float]] = {
    "multi_similarity": (losses.multi_similarity, {"beta": 10.0}, MINED),
    "circle": (losses.circle, {"gamma": 1.0}, (END_CIRCLE + MIDDLE_CIRCLE) / 2),
    "sup_con": (losses.sup_con, {"temperature": 1.0}, SOFTMAX),
    "nt_xent": (losses.nt_xent, {"temperature": 1.0}, SOFTMAX),
    "smooth_ap": (losses.smooth_ap, {"temperature": 1e-3}, 1 - (1 + 1 / 2) / 2),
    "smooth_ap, query": (
        losses.smooth_ap,
        {"temperature": 1e-3, "includes_query": True},
        1 - (1 + (1 + 2 / 3) / 2) / 2,
    ),
    "fast_ap": (losses.fast_ap, {"bins": 2}, 1 - (END_AP + MIDDLE_AP) / 2),
    "recall@1": (
        losses.recall_at_k,
        {"ks": (1,), "temperatures": (0.01,), **STEEP},
        1 - (1 / 2 + 0) / 2,
    ),
    "recall@1 and 2": (
        losses.recall_at_k,
        {"ks": (1, 2), "temperatures": (0.01, 0.01), **STEEP},
        1 - ((1 / 2 + 0) / 2 + (1 + 1 / 2) / 2) / 2,
    ),
    "recall@2, query": (
        losses.recall_at_k,
        {"ks": (2,), "temperatures": (0.01,), "includes_query": True, **STEEP},
        1 - (1 / 2 + 0) / 2,
    ),
    "recall@2, as steep as k": (
        losses.recall_at_k,
        {"ks": (2,), **STEEP},
        1 - (1 / (1 + exp(-1 / 2)) + 1 / 2) / 2,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    loss, options, expected = BY_HAND[name]
    assert float(loss(PLANE, CLASSES, **options)) == pytest.approx(expected, rel=1e-4)


def test_a_recall_is_at_most_1():
    """With a soft step four positives are half in the first one each; but one is all there is."""
    one = jnp.zeros(5, jnp.int32)
    x = jax.random.normal(jax.random.key(0), (5, 3))
    value = losses.recall_at_k(x, one, ks=(1,), temperatures=(100.0,))
    assert float(value) == pytest.approx(0.0, abs=1e-6)
    # Of k = 8 > 4 positives the share is of 4.
    value = losses.recall_at_k(x, one, ks=(8,), temperatures=(0.01,))
    assert float(value) == pytest.approx(0.0, abs=1e-6)


EVERY = {
    name: getattr(losses, name)
    for name in (
        "multi_similarity",
        "circle",
        "sup_con",
        "nt_xent",
        "smooth_ap",
        "fast_ap",
        "recall_at_k",
    )
}
every = pytest.mark.parametrize("name", EVERY)


def batch(seed, rows=15, learners=2, dim=6):
    """Vectors of several lengths, and three of each class."""
    x = np.random.default_rng(seed).normal(size=(rows, learners, dim)).astype(np.float32)
    return jnp.asarray(x), jnp.arange(rows, dtype=jnp.int32) // 3


@every
def test_the_defaults_are_the_oracles(name):
    x, labels = batch(0)
    value, gradient = jax.jit(jax.value_and_grad(EVERY[name]))(x, labels)
    expected = getattr(oracles_cosines, name)(x, labels)
    assert float(value) == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-3


@every
def test_lengths_do_not_matter(name):
    """So the gradient is at right angles to each vector."""
    x, labels = batch(1)
    of = jax.jit(jax.value_and_grad(EVERY[name]))
    longer = x * jnp.linspace(0.5, 30.0, len(x), dtype=jnp.float32)[:, None, None]
    (value, gradient), (same, _) = of(x, labels), of(longer, labels)
    assert float(same) == pytest.approx(float(value), rel=1e-4)
    along = np.sum(np.asarray(gradient, np.float64) * np.asarray(x, np.float64), axis=-1)
    assert np.abs(along).max() < 1e-4 * np.abs(gradient).max() * np.abs(x).max()


@every
def test_an_empty_batch_is_0(name):
    assert float(EVERY[name](jnp.zeros((0, 3)), jnp.zeros(0, jnp.int32))) == 0


@pytest.mark.parametrize("name", ["sup_con", "fast_ap"])  # by the cosine, by the distance
def test_lengths_beyond_float32_show(name):
    """At 1e20 the square is infinite: not the value of zero vectors, which would look like one."""
    x, labels = batch(4)
    assert np.isfinite(float(EVERY[name](1e18 * x, labels)))
    assert np.isnan(float(EVERY[name](1e20 * x, labels)))


def test_fast_ap_has_the_mean_of_two_slopes_at_a_centre():
    """Right angles are at squared distance 2, the sixth of 11 centres: a central difference."""
    x, labels = np.eye(4), np.array([0, 0, 1, 1])
    gradient = jax.jit(jax.grad(losses.fast_ap))(jnp.asarray(x, jnp.float32), jnp.asarray(labels))

    def at(vectors):
        return oracles_cosines.fast_ap(vectors[:, None], labels)

    found = [oracles.slope(at, x, towards) for towards in np.eye(16).reshape(16, 4, 4)]
    np.testing.assert_allclose(np.asarray(gradient).ravel(), found, atol=1e-4)
    assert np.abs(found).max() > 0.1


def test_with_one_positive_each_nt_xent_is_the_supervised_contrastive_loss():
    x, _ = batch(2, rows=12)
    pairs, threes = jnp.arange(12, dtype=jnp.int32) // 2, jnp.arange(12, dtype=jnp.int32) // 3
    for temperature in (0.1, 0.5):
        xent, con = (
            functools.partial(loss, temperature=temperature)
            for loss in (losses.nt_xent, losses.sup_con)
        )
        assert float(xent(x, pairs)) == pytest.approx(float(con(x, pairs)), rel=1e-5)
        assert float(con(x, threes)) - float(xent(x, threes)) > 0.01


def test_what_is_not_mined_has_no_gradient():
    """The ends have no hard pair, but are one to the middle; row 4 is far from everybody."""
    x = jnp.concatenate([PLANE, jnp.array([[-0.28, -0.96]])])
    labels = jnp.array([7, 7, 8, 8, 9])
    of = jax.jit(jax.grad(losses.multi_similarity))
    gradient = np.abs(np.asarray(of(x, labels))).max(axis=1)
    assert (gradient[:4] > 1e-3).all() and gradient[4] == 0
    loose = jax.jit(jax.grad(functools.partial(losses.multi_similarity, epsilon=2.0)))
    assert np.abs(np.asarray(loose(x, labels))[4]).max() > 0


def test_terms_pass_their_options():
    x, labels = batch(3)
    image_ids, mask = jnp.arange(15, dtype=jnp.int32) // 2, jnp.arange(15) < 13
    terms = (
        MultiSimilarity(alpha=3.0, beta=20.0, base=0.3, epsilon=0.05, label="instance"),
        MultiSimilarity(mined=False),
        Circle(margin=0.25, gamma=8.0, label="instance"),
        SupCon(temperature=0.3, label="instance"),
        NTXent(temperature=0.3),
        NTXent(temperature=0.3, label="class"),
        SmoothAP(temperature=0.1, includes_query=True),
        FastAP(bins=7, label="instance"),
        RecallAtK(ks=(1, 3), temperatures=(1.0, 2.0), rank_temperature=0.1, includes_query=True),
    )
    objective = losses.Objective(terms)
    batch_of = PlainVectors(9 * x[::-1], x), labels, image_ids, mask
    _, values = jax.jit(objective.apply)({}, *batch_of)
    of, there = oracles_cosines, {"mask": np.asarray(mask)}
    recall = {"ks": (1, 3), "temperatures": (1.0, 2.0), "rank_temperature": 0.1}
    mined = {"alpha": 3.0, "beta": 20.0, "base": 0.3, "epsilon": 0.05}
    expected = {
        "multi_similarity": of.multi_similarity(x, image_ids, **mined, **there),
        "multi_similarity_2": of.multi_similarity(x, labels, mined=False, **there),
        "circle": of.circle(x, image_ids, margin=0.25, gamma=8.0, **there),
        "sup_con": of.sup_con(x, image_ids, temperature=0.3, **there),
        "nt_xent": of.nt_xent(x, image_ids, temperature=0.3, **there),
        "nt_xent_2": of.nt_xent(x, labels, temperature=0.3, **there),
        "smooth_ap": of.smooth_ap(x, labels, temperature=0.1, includes_query=True, **there),
        "fast_ap": of.fast_ap(x, image_ids, bins=7, **there),
        "recall_at_k": of.recall_at_k(x, labels, includes_query=True, **recall, **there),
    }
    assert jax.tree.map(float, values) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ks": ()}, "ks: none; give one or more"),
        ({"ks": (1, 0)}, "ks: 0 is no number of rows"),
        ({"temperatures": (1.0,)}, "temperatures: 1 for 5 ks"),
        ({"ks": (4,), "temperatures": (0.0,)}, "temperatures: 0 is not above 0"),
        ({"rank_temperature": 0.0}, "rank_temperature: 0"),
    ],
)
def test_mistakes_are_named(options, message):
    for made in (RecallAtK, functools.partial(losses.recall_at_k, PLANE, CLASSES)):
        with pytest.raises(ArgumentError, match="^" + re.escape(message)):
            made(**options)


def test_a_histogram_has_bins():
    with pytest.raises(ArgumentError, match=r"^bins: 0 is not at least 1"):
        losses.fast_ap(PLANE, CLASSES, bins=0)
