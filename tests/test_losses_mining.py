"""Which triplets are mined, by hand; and what the losses between images hold in memory."""

import functools
import re

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import losses
from abe_jax.errors import UserError

# Distances on a line. Anchor 0: positive 1 at 1.0; negatives 2 at 0.9, 3 at 1.1, 4 at 3.0.
# Anchor 1: positive 0 at 1.0; negatives 2 at 0.1, 3 at 2.1, 4 at 2.0. Other anchors have none.
LINE = jnp.array([[0.0], [1.0], [0.9], [-1.1], [3.0]])
CLASSES = jnp.array([5, 5, 6, 7, 8])
BY_HAND = {
    ("all", "mean"): (0.3 + 0.1 + 0.0 + 1.1 + 0.0 + 0.0) / 6,
    ("all", "mean_active"): (0.3 + 0.1 + 1.1) / 3,
    ("semi_hard", "mean"): (0.1 + 0.0) / 2,
    ("semi_hard", "mean_active"): 0.1,
    ("batch_hard", "mean"): (0.3 + 1.1) / 2,
    ("batch_hard", "mean_active"): (0.3 + 1.1) / 2,
}


@pytest.mark.parametrize("choice", BY_HAND, ids="-".join)
def test_triplet_by_hand(choice):
    mining, reduction = choice
    value = losses.triplet(LINE, CLASSES, mining=mining, reduction=reduction, margin=0.2)
    assert float(value) == pytest.approx(BY_HAND[choice], rel=1e-5)


def test_semi_hard_takes_the_farthest_negative_where_none_is_beyond():
    line, classes = jnp.array([[0.0], [2.0], [0.5], [-1.0]]), jnp.array([5, 5, 6, 6])
    mask = jnp.array([True, True, True, True])
    # (0, 1) at 2.0: negatives at 0.5 and 1.0, none beyond. (1, 0): 1.5 and 3.0. (2, 3) at 1.5: 0.5
    # and 1.5, which is not beyond. (3, 2): 1.0 and 3.0.
    expected = (2.0 - 1.0 + 0.2) + 0.0 + 0.2 + 0.0
    value = losses.triplet(line, classes, mining="semi_hard", reduction="mean", mask=mask)
    assert float(value) == pytest.approx(expected / 4, rel=1e-5)


def test_soft_margin_is_softplus_without_a_margin():
    value = losses.triplet(LINE, CLASSES, mining="batch_hard", soft=True, margin=7.0)
    expected = np.log1p(np.exp([1.0 - 0.9, 1.0 - 0.1])).mean()
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.triplet(LINE, CLASSES, mining="semihard"), "'semi_hard'"),
        (lambda: losses.triplet(LINE, CLASSES, reduction="mean_activ"), "'mean_active'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()


def largest(jaxpr):
    """Elements of the largest array that a program makes, in whatever it calls too."""
    sizes = [v.aval.size for e in jaxpr.eqns for v in e.outvars if hasattr(v.aval, "size")]
    for equation in jaxpr.eqns:
        for inner in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda leaf: isinstance(leaf, jax.extend.core.ClosedJaxpr),
        ):
            inner = getattr(inner, "jaxpr", inner)
            sizes += [largest(inner)] if isinstance(inner, jax.extend.core.Jaxpr) else []
    return max(sizes, default=0)


def drawn_margin(vectors, labels, **options):
    negatives = losses.distance_weighted(jax.random.key(0), vectors, labels, **options)
    return losses.margin_loss(vectors, labels, negatives=negatives)


QUADRATIC = {
    "triplet-all": losses.triplet,
    "triplet-semi_hard": functools.partial(losses.triplet, mining="semi_hard"),
    "triplet-batch_hard": functools.partial(losses.triplet, mining="batch_hard"),
    "margin": losses.margin_loss,
    "margin-drawn": drawn_margin,
    "margin-drawn-all-different": functools.partial(drawn_margin, replacement=False),
}


@pytest.mark.parametrize("name", QUADRATIC)
def test_no_array_grows_with_the_cube_of_the_batch(name):
    b, m, d = 48, 2, 3
    labels = jnp.arange(b) // 3
    of = jax.value_and_grad(lambda vectors: QUADRATIC[name](vectors, labels))
    program = jax.make_jaxpr(of)(jax.ShapeDtypeStruct((b, m, d), jnp.float32))
    assert largest(program.jaxpr) <= 2 * m * b * b < m * b**3 / 20


def test_the_measure_of_arrays_sees_a_cube_inside_a_loop():
    def cube(rows):
        return jax.lax.map(lambda row: jnp.sum(row[:, None, None] * rows[None]), rows)

    program = jax.make_jaxpr(jax.jit(cube))(jax.ShapeDtypeStruct((7, 7), jnp.float32))
    assert largest(program.jaxpr) == 7**3
