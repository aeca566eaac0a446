"""Exact neighbours: order, ties, exclusions, blocks and chunks."""

import re

import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from abe_jax.errors import UserError
from abe_jax.evaluation import arguments, search
from abe_jax.evaluation.knn import ENSEMBLES, knn
from abe_jax.evaluation.options import Ranking


def column(*values):
    return np.array(values, np.float32)[:, None]


def learners(n=40, m=3, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m, d)).astype(np.float32)


def test_ties_rank_by_gallery_index():
    gallery = column(3, 1, -1, 1, 3, -1)
    distances, indices = knn(column(0, 2), gallery, 6)
    assert indices.tolist() == [[1, 2, 3, 5, 0, 4], [0, 1, 3, 4, 2, 5]]
    assert distances.tolist() == [[1, 1, 1, 1, 9, 9], [1, 1, 1, 1, 9, 9]]
    assert indices.dtype == np.int32


def test_self_is_excluded_by_index_and_not_by_distance():
    twins = column(5, 5, 5, 0)
    _, indices = knn(twins, twins, 3, exclude_self=True)
    assert indices.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    _, indices = knn(twins, twins, 2)
    assert indices.tolist() == [[0, 1], [0, 1], [0, 1], [3, 0]]


def test_own_group_does_not_count_and_missing_neighbours_are_minus_one():
    distances, indices = knn(
        column(0, 0),
        column(1, 2, 3),
        3,
        groups=(np.array([900, -4]), np.array([900, 7, 900])),
    )
    assert indices.tolist() == [[1, -1, -1], [0, 1, 2]]
    assert distances[0].tolist() == [4, np.inf, np.inf]


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_order_is_the_oracles_whatever_the_block_and_chunk(ensemble, monkeypatch):
    x = learners()
    x[7], x[30] = x[3], x[3]  # equal vectors, in another chunk too
    groups = np.arange(len(x)) % 4
    rooted = ensemble == "mean_distance"
    expected = [
        oracles.ranking(x[i], x, own=i, group=groups[i], gallery_groups=groups, rooted=rooted)
        for i in range(len(x))
    ]

    def found(block):
        ranking = Ranking(ensemble=ensemble, block=block)
        _, indices = knn(x, x, 30, exclude_self=True, groups=(groups, groups), ranking=ranking)
        return indices.tolist()

    assert found(1) == found(7) == found(16) == found(1000) == expected
    monkeypatch.setattr(search, "GALLERY_TILE", 4)
    monkeypatch.setattr(search, "DISTANCES_AT_ONCE", 16 * 16)  # chunks of 16, 16 and 8
    assert found(16) == expected


def test_mean_distance_ranks_unlike_concatenation():
    query = np.zeros((1, 2, 1), np.float32)
    gallery = np.array(
        [[[1.0], [1.0]], [[0.0], [1.7]]], np.float32
    )  # squares 2, 2.89; means 1, .85
    assert knn(query, gallery, 2)[1].tolist() == [[0, 1]]
    distances, indices = knn(query, gallery, 2, ranking=Ranking(ensemble="mean_distance"))
    assert indices.tolist() == [[1, 0]]
    np.testing.assert_allclose(distances, [[0.85, 1.0]], rtol=1e-6)


def test_equal_vectors_tie_wherever_they_stand():
    """Distances that rounding made differ by the place in a tile would break ties by chance."""
    x = np.random.default_rng(0).normal(size=(2, 37)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    gallery = np.repeat(x[1:], 301, axis=0)
    _, indices = knn(np.repeat(x[:1], 19, axis=0), gallery, 301)
    assert (indices == np.arange(301)[None]).all()


def test_numpy_jax_and_half_precision_are_taken():
    x = learners()[:, 0]
    expected = knn(x, x, 3)[1]
    assert (knn(jnp.asarray(x), jnp.asarray(x), 3)[1] == expected).all()
    assert (knn(x.astype(np.float64), x, 3)[1] == expected).all()
    half = jnp.asarray(x).astype(jnp.bfloat16)
    rounded = np.asarray(half.astype(jnp.float32))
    assert (knn(half, half, 3)[1] == knn(rounded, rounded, 3)[1]).all()


def test_rows_of_nan_alone_are_nobodys_neighbours_and_have_none():
    x = learners(n=20)
    groups = np.arange(20) % 3
    missing = np.array([0, 7, 19])
    kept = np.setdiff1d(np.arange(20), missing)
    broken = x.copy()
    broken[missing] = np.nan
    for own in (None, (groups, groups)):
        distances, indices = knn(broken, broken, 18, exclude_self=True, groups=own)
        assert (indices[missing] == -1).all() and np.isinf(distances[missing]).all()
        among = None if own is None else (groups[kept], groups[kept])
        near, ranked = knn(x[kept], x[kept], 16, exclude_self=True, groups=among)
        expected = np.where(ranked >= 0, kept[ranked], -1)
        assert (indices[kept, :16] == expected).all() and (indices[kept, 16:] == -1).all()
        np.testing.assert_array_equal(distances[kept, :16], near)
    assert (knn(broken[:1], x, 3)[1] == -1).all()


X = learners(6)[:, 0]
BROKEN = X.copy()
BROKEN[4, 2] = np.nan


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: knn(X, X, 7), "k = 7 neighbours asked of a gallery that holds 6"),
        (lambda: knn(X, X, 6, exclude_self=True), "holds 5"),
        (lambda: knn(X, X, 0), "k = 0"),
        (lambda: arguments.one_k(2.0), "k = 2.0: name one whole number"),
        (lambda: arguments.one_k(None), "k = None: name one whole number"),
        (lambda: arguments.one_k((1, 2)), "k = (1, 2): name one whole number"),
        (lambda: arguments.both_groups(np.zeros(6), 6, 6), "groups are a pair"),
        (lambda: arguments.both_groups([[1, 2], [3]], 2, 2), "groups (2,) and (1,) do not fit 2"),
        (lambda: knn(X, X[:, :2], 1), "differ in d"),
        (lambda: knn(X[:2], X, 1, exclude_self=True), "one for one"),
        (lambda: knn(X, BROKEN, 1), "gallery hold a value that is not finite"),
        (lambda: knn(X, BROKEN, 1), "row 4"),
        (lambda: knn(X, np.where(BROKEN == BROKEN, np.nan, X), 7), "k = 7 neighbours asked"),
        (lambda: knn(X, X, 1, ranking=Ranking(block=0)), "block = 0"),
        (lambda: knn(X, X[:0], 1), "not empty"),
        (
            lambda: knn(X, X, 1, groups=(np.zeros(5, int), np.zeros(6, int))),
            "groups (5,) and (6,) do not fit 6 queries and 6 gallery rows",
        ),
        (lambda: knn(X, X, 1, ranking=Ranking(ensemble="mean_distanc")), "'mean_distance'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()
