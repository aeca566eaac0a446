"""Recall@K, R-precision and MAP@R on tables worked out by hand, and against the loop oracle."""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from abe_jax import evaluation
from abe_jax.errors import UserError
from abe_jax.evaluation import LabelledGallery, Ranking, arguments, metrics


def column(*values):
    return np.array(values, np.float32)[:, None]


def labels(text):
    return np.array([ord(letter) for letter in text])


# A query a at 0 against a gallery: neighbours by rising distance a b a a b, and R = 3.
GALLERY, NAMES = column(1, 2, 3, 4, 5), labels("abaab")
LOOK: dict[str, Any] = {"gallery": LabelledGallery(GALLERY, NAMES)}


def test_query_and_gallery_by_hand():
    query = column(0), labels("a")
    assert evaluation.recall_at_k(*query, [1, 5], **LOOK) == {1: 1.0, 5: 1.0}
    assert evaluation.r_precision(*query, **LOOK) == pytest.approx(2 / 3)
    assert evaluation.map_at_r(*query, **LOOK) == pytest.approx((1 / 1 + 2 / 3) / 3)
    query = column(0), labels("b")  # R = 2: of the two nearest, the second is right
    assert evaluation.recall_at_k(*query, [1, 2], **LOOK) == {1: 0.0, 2: 1.0}
    assert evaluation.r_precision(*query, **LOOK) == pytest.approx(1 / 2)
    assert evaluation.map_at_r(*query, **LOOK) == pytest.approx((1 / 2) / 2)


def test_leave_one_out_by_hand():
    # Places 0 1 3 6; the nearest other: 0 -> 1, 1 -> 0, 3 -> 1, 6 -> 3.
    x, y = column(0, 1, 3, 6), labels("abab")
    assert evaluation.recall_at_k(x, y, [1, 2, 3]) == {1: 0.0, 2: 0.75, 3: 1.0}
    # With itself in the gallery every query would find itself.
    assert evaluation.recall_at_k(x, y, [1], gallery=LabelledGallery(x, y)) == {1: 1.0}


def test_ties_between_classes_go_to_the_lower_index():
    """A vector of another class that equals the positive wins only from a lower index."""
    for order, recall in (("ab", 1.0), ("ba", 0.0)):
        found = evaluation.recall_at_k(
            column(0), labels("a"), [1], gallery=LabelledGallery(column(2, 2), labels(order))
        )
        assert found == {1: recall}
    # Duplicates of the query itself in another class, before and after it.
    assert evaluation.recall_at_k(column(1, 1, 2), labels("baa"), [1, 2]) == {1: 0.0, 2: 1.0}
    assert evaluation.recall_at_k(column(1, 2, 1), labels("aab"), [1, 2]) == {1: 0.5, 2: 1.0}


def test_queries_without_a_positive_are_in_no_mean_but_stay_in_the_gallery():
    # The singleton s is nearest to the first a, whose own nearest would otherwise be right.
    x, y = column(0, 1, 3), labels("asa")
    assert evaluation.recall_at_k(x, y, [1, 2]) == {1: 0.0, 2: 1.0}
    found = metrics.scores(x, y, [1])
    assert found.queries == 2
    # A query whose class the gallery does not hold.
    query = column(0, 0), labels("az")
    assert evaluation.recall_at_k(*query, [1], **LOOK) == {1: 1.0}
    with pytest.raises(UserError, match="no query has a positive"):
        evaluation.recall_at_k(column(0, 1), labels("ab"), [1])


def test_labels_and_groups_of_any_size_are_told_apart():
    x, groups = column(0, 1, 2, 4, 9, 12), np.array([5, 5, 5, 6, 7, 8])
    small = np.array([0, 0, 1, 0, 1, 1])
    expected = metrics.scores(x, small, [1], groups=groups)
    for far in (2**62, -(2**62), 2**63 - 1):
        found = metrics.scores(x, small * far, [1], groups=groups)
        assert found.queries == expected.queries and found.means() == expected.means()
    wide = metrics.scores(x, small, [1], groups=groups * 2**60)
    assert wide.means() == expected.means()


def test_own_group_counts_neither_as_neighbour_nor_as_positive():
    x, y = column(0, 1, 2, 4, 9), labels("aabaa")
    groups = np.array([5, 5, 6, 6, 8])
    # 0: others 2(b) 4(a) 9(a), R = 2. 1: the same. 4: 1 0 9, R = 3. 9: 4 2 1 0 -> a b a a, R = 3.
    assert evaluation.recall_at_k(x, y, [1, 2], groups=groups) == {1: 0.5, 2: 1.0}
    assert evaluation.r_precision(x, y, groups=groups) == pytest.approx((1 / 2 * 2 + 1 + 2 / 3) / 4)
    average = (1 / 4 + 1 / 4 + 1 + (1 + 2 / 3) / 3) / 4
    assert evaluation.map_at_r(x, y, groups=groups) == pytest.approx(average)
    # Queries with groups of their own against a gallery.
    found = evaluation.recall_at_k(
        column(0),
        labels("a"),
        [1],
        groups=np.array([1]),
        gallery=LabelledGallery(GALLERY, NAMES, np.array([1, 2, 2, 2, 2])),
    )
    assert found == {1: 0.0}


@pytest.mark.parametrize("rooted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_metrics_are_the_oracles_whatever_the_block(rooted, grouped):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 9, 60)
    y[:25] = 20  # R beyond the first depth searched
    x = (rng.normal(size=(30, 2, 3))[y] + rng.normal(size=(60, 2, 3))).astype(np.float32)
    groups = rng.integers(0, 4, 60) if grouped else None
    ensemble = "mean_distance" if rooted else "concatenation"
    expected, queries = oracles.retrieval(x, y, (1, 2, 8), groups=groups, rooted=rooted)
    for block in (1, 7, 1000):
        found = metrics.scores(
            x, y, (1, 2, 8), groups=groups, ranking=Ranking(ensemble=ensemble, block=block)
        )
        assert found.means() == pytest.approx(expected, rel=1e-12)
        assert found.queries == queries
    assert len(set(expected.values())) == 5 and all(0 < v < 1 for v in expected.values())


def test_jax_arrays_and_narrow_labels_give_the_same():
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    y = np.arange(20, dtype=np.int32) // 4
    expected = evaluation.recall_at_k(x, y, (1, 3))
    assert evaluation.recall_at_k(jnp.asarray(x), jnp.asarray(y), (1, 3)) == expected
    assert evaluation.recall_at_k(x, y.astype(np.uint8), (1, 3)) == expected


X, Y = column(0, 1, 2, 3), labels("aabb")


@pytest.mark.parametrize("ks", [1, np.int64(1), np.array(1), [1], np.array([1]), range(1, 2)])
def test_one_k_or_several_are_named_as_a_notebook_does(ks):
    assert evaluation.recall_at_k(X, Y, ks) == {1: 0.75}
    assert metrics.scores(X, Y, ks).recall.keys() == {1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: evaluation.recall_at_k(X, Y, [1, 4]),
            "k = 4 neighbours asked of a gallery that h",
        ),
        (lambda: evaluation.recall_at_k(X, Y, [5], gallery=LabelledGallery(X, Y)), "holds 4"),
        (lambda: evaluation.recall_at_k(X, Y, [0]), "k = 0"),
        (lambda: evaluation.recall_at_k(X, Y[:3], [1]), "labels of shape (3,) do not fit 4"),
        (
            lambda: evaluation.recall_at_k(X, Y, [1], groups=Y, gallery=LabelledGallery(X, Y)),
            "together",
        ),
        (
            lambda: evaluation.recall_at_k(X, Y, [1], gallery=LabelledGallery(X, Y, Y)),
            "together",
        ),
        (lambda: evaluation.recall_at_k(X, Y / 2, [1]), "integers"),
        (lambda: evaluation.recall_at_k(X, Y, []), "one K or more"),
        (lambda: evaluation.recall_at_k(X, Y, np.zeros(0, int)), "one K or more"),
        (lambda: arguments.several_k(1.0), "ks = 1.0: name one whole number"),
        (lambda: arguments.several_k("1"), "ks = '1': name one whole number"),
        (lambda: arguments.several_k([[1]]), "ks = [[1]]: name one whole number"),
        (lambda: arguments.several_k({1, 2}), "ks = {1, 2}: name one whole number"),
        (lambda: arguments.float32(X * 1j, "vectors"), "vectors must be real numbers, not complex"),
        (lambda: arguments.float32([["a"]], "vectors"), "vectors must be real numbers, not <U1"),
        (lambda: evaluation.recall_at_k(X, Y, True), "ks = True: name one whole number"),
        (
            lambda: evaluation.recall_at_k(X, Y, [1], gallery=LabelledGallery(X[:2], Y)),
            "gallery labels of shape (4,) do not fit 2",
        ),
        (lambda: evaluation.recall_at_k(X, Y, [1], groups=Y[:2]), "groups (2,)"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()
