"""What losses between images choose (triplets, medoids), what they hold in memory, their terms."""

import functools
import re

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import oracles_pairs
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError
from abe_jax.losses import Clustering, LiftedStructure, NPairs, Triplet
from abe_jax.losses.batch import PlainVectors
from abe_jax.losses.clustering import normalised_information

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
    with pytest.raises(ArgumentError, match=re.escape(message)):
        call()


def test_normalised_information_is_that_of_the_table():
    here = jnp.array([True] * 6 + [False])
    of = jax.jit(normalised_information)
    clusterings = [[0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2], [0] * 6, [0, 1, 2, 3, 4, 5], [0, 1] * 3]

    def counts(labels):
        return np.array([*map(labels.count, labels), 0], np.float32)  # the absent row's is not read

    for right in clusterings:
        ours = np.stack([counts(left) for left in clusterings], axis=1)
        both = [counts(list(zip(left, right, strict=True))) for left in clusterings]
        shared, classes = jnp.asarray(np.stack(both, axis=1)), jnp.asarray(counts(right))
        expected = [oracles_pairs.information(left, right) for left in clusterings]
        actual = of(jnp.asarray(ours), shared, classes, here)
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_the_search_for_medoids_never_passes_the_maximum_and_mostly_reaches_it():
    labels, margin = np.array([0, 0, 1, 1, 2, 2, 0, 1], np.int32), 2.0
    of = jax.jit(functools.partial(losses.clustering, margin=margin))
    reached = []
    for seed in range(12):
        x = np.random.default_rng(seed).normal(size=(8, 3)).astype(np.float32)
        value = float(of(jnp.asarray(x), jnp.asarray(labels)))
        most = oracles_pairs.clustering(x, labels, margin=margin, exhaustive=True)
        assert value <= most + 1e-5
        reached.append(value > most - 1e-5)
    assert sum(reached) >= 8


# With a margin of 5 one sweep over fixed clusters ends elsewhere than one that finds them anew
# (seeds 1 and 5), and by distances within clusters elsewhere than by those of all rows.
@pytest.mark.parametrize(
    ("sweeps", "exchange", "margin"), [(1, "anew", 40.0), (5, "fixed", 40.0), (1, "fixed", 5.0)]
)
def test_the_search_for_medoids_in_a_larger_batch_is_the_oracles(sweeps, exchange, margin):
    labels = np.arange(24, dtype=np.int32) // 4
    options = {"margin": margin, "sweeps": sweeps, "exchange": exchange}
    of = jax.jit(functools.partial(losses.clustering, **options))
    differ = []
    for seed in range(6):
        x = np.random.default_rng(seed).normal(size=(24, 3)).astype(np.float32)
        expected = oracles_pairs.clustering(x, labels, **options)
        assert float(of(jnp.asarray(x), jnp.asarray(labels))) == pytest.approx(expected, rel=1e-5)
        greedy = oracles_pairs.clustering(x, labels, margin=margin, sweeps=0)
        differ.append(abs(expected - greedy) > 1e-3)
    assert any(differ)


def test_clusters_as_labelled_cost_nothing_and_mixed_ones_do():
    x = jnp.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0], [0.0, 5.0]])
    of = jax.jit(functools.partial(losses.clustering, margin=0.5))
    assert float(of(x, jnp.array([0, 0, 1, 1, 2]))) == 0.0
    # The best medoids are the same three, at a cost of 0.2; of the classes {0, 2} and {1, 3} 10.
    mixed = 10.0 - 0.2 + 0.5 * (1 - oracles_pairs.information([0, 0, 1, 1, 2], [0, 1, 0, 1, 2]))
    assert float(of(x, jnp.array([0, 1, 0, 1, 2]))) == pytest.approx(mixed, rel=1e-5)


def test_terms_pass_their_options():
    rng = np.random.default_rng(0)
    long, x = (jnp.asarray(rng.normal(size=(8, 2, 4)), jnp.float32) for _ in range(2))
    labels, image_ids = jnp.arange(8) // 4, jnp.arange(8) // 2
    mask = jnp.arange(8) < 7
    terms = (
        Triplet(mining="semi_hard", margin=0.4, squared=True, reduction="mean", label="instance"),
        Triplet(mining="batch_hard", soft=True),
        LiftedStructure(margin=0.6, label="instance"),
        NPairs(length_weight=0.3, label="instance"),
        Clustering(margin=3.0, sweeps=2, exchange="fixed", label="instance"),
    )
    objective = losses.Objective(terms)
    _, values = jax.jit(objective.apply)({}, PlainVectors(long, x), labels, image_ids, mask)
    semi = {"mining": "semi_hard", "margin": 0.4, "squared": True, "reduction": "mean"}
    of = oracles_pairs
    expected = {
        "triplet": of.triplet(x, image_ids, mask=mask, **semi),
        "triplet_2": of.triplet(x, labels, mask=mask, mining="batch_hard", soft=True),
        "lifted_structure": of.lifted_structure(long, image_ids, mask=mask, margin=0.6),
        "n_pairs": of.n_pairs(long, image_ids, mask=mask, length_weight=0.3),
        "clustering": of.clustering(
            x, image_ids, mask=mask, margin=3.0, sweeps=2, exchange="fixed"
        ),
    }
    assert jax.tree.map(float, values) == pytest.approx(expected, rel=1e-5)


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
    "lifted_structure": losses.lifted_structure,
    "n_pairs": losses.n_pairs,
    "clustering": losses.clustering,
    "multi_similarity": losses.multi_similarity,
    "circle": losses.circle,
    "sup_con": losses.sup_con,
    "nt_xent": losses.nt_xent,
    "smooth_ap": losses.smooth_ap,
    "fast_ap": losses.fast_ap,
    "recall_at_k": losses.recall_at_k,
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
