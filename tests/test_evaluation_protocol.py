"""Queries that ask a gallery: every part of an evaluation beside loops in float64."""

import itertools
import json

import numpy as np
import oracles
import oracles_grains
import pytest

from abe_jax import evaluation
from abe_jax.errors import UserError
from abe_jax.evaluation import GroundTruth, Measures, cosine, grains, protocols
from abe_jax.evaluation.baselines import centred_pixels
from abe_jax.evaluation.by_domain import by_domain

KS = (1, 3, 5)
NAMES = ("recall@1", "recall@3", "recall@5", "r_precision", "map@r")


def split(m=2, n=70):
    """Small whole numbers, so that distances are exact and many are equal.

    Class 7 is a distractor (gallery alone), class 8 asks in vain, class 9 has no other image.
    """
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 7, n).astype(np.int32)
    gallery = rng.random(n) < 0.5
    for at, (label, asked) in enumerate([(7, 1), (7, 1), (7, 1), (8, 0), (8, 0), (9, 0), (9, 0)]):
        labels[3 * at], gallery[3 * at] = label, bool(asked)
    x = rng.integers(-1, 2, (10, m, 3))[labels] + rng.integers(-1, 2, (n, m, 3))
    groups = rng.integers(0, 3, n).astype(np.int32)
    return x.astype(np.float32), labels, gallery, groups


def equal(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


def test_every_part_of_the_metrics_is_what_the_loops_give():
    x, y, gallery, groups = split()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (len(x), 2, 3, 1)).astype(np.uint8)
    white = rng.integers(-2, 3, (len(x), 3)).astype(np.float32)
    beside, measures = {"pixels": pixels, "whitened": white}, Measures(ks=KS, binary=True, block=8)
    found = evaluation.evaluate(x, GroundTruth(y, gallery, groups), measures, **beside)
    assert json.loads(json.dumps(found, allow_nan=False)) == found

    expected, queries = oracles.retrieval(x, y, KS, gallery=gallery)
    positive = [gallery[y == label].any() for label in y[~gallery]]
    assert found["queries"] == queries == sum(positive) < (~gallery).sum()
    assert (found["images"], found["gallery"]) == (70, gallery.sum())
    parts = found["metrics"]
    equal(parts["ensemble"], expected)
    rooted = oracles.retrieval(x, y, KS, gallery=gallery, rooted=True)[0]
    equal(parts["ensemble_mean_distance"], rooted)
    for p in (0, 1):
        equal(parts["learners"][p], oracles.retrieval(x[:, p], y, KS, gallery=gallery)[0])
    bits = (x > 0).reshape(len(x), -1)
    equal(parts["binary"], oracles.retrieval(bits, y, KS, gallery=gallery)[0])
    equal(parts["whitened"], oracles.retrieval(white, y, KS, gallery=gallery)[0])
    centred = centred_pixels(pixels)
    assert parts["pixels"]["recall@1"] == pytest.approx(
        oracles.retrieval(centred, y, KS, gallery=gallery)[0]["recall@1"], abs=0.05
    )  # rounded distances: those that are equal in float64 need not be here
    others, queries = oracles.retrieval(x, y, KS, gallery=gallery, groups=groups)
    equal(found["other_family"]["ensemble"], others)
    assert found["queries_other_family"] == queries

    alone = evaluation.evaluate(x, GroundTruth(y, groups=groups), measures, **beside)
    assert "gallery" not in alone
    equal(alone["metrics"]["ensemble"], oracles.retrieval(x, y, KS)[0])
    assert alone["metrics"]["ensemble"] != parts["ensemble"]


def test_equal_distances_rank_by_the_order_of_the_gallery():
    labels = np.array([0, 1, 0, 1, 0], np.int32)
    gallery = np.array([False, True, True, True, True])
    x = np.zeros((5, 1, 2), np.float32)
    result = evaluation.evaluate(x, GroundTruth(labels, gallery), Measures(ks=(1, 2, 3)))
    found = result["metrics"]["ensemble"]
    assert [found[f"recall@{k}"] for k in (1, 2, 3)] == [0, 1, 1]
    assert found["map@r"] == pytest.approx(1 / 2 * 1 / 2)


def test_each_domain_asks_its_own_gallery():
    x, y, gallery, groups = split()
    groups[y == 9] = 3  # a domain that only asks
    groups[y == 7] = 4  # and one that is only asked
    names = ("a", "b", "c", "asks", "asked")
    found = by_domain({"ensemble": x}, GroundTruth(y, gallery, groups, names), (1, 3, 50), block=8)
    assert found["left_out"] == ["asks", "asked"] and list(found["each"]) == ["a", "b", "c"]
    for group, name in enumerate("abc"):
        rows = groups == group
        most = int(gallery[rows].sum())
        expected, queries = oracles.retrieval(x[rows], y[rows], (1, 3, most), gallery=gallery[rows])
        one = found["each"][name]
        assert one["queries"] == queries and one["images"] == rows.sum()
        for k, reached in ((1, 1), (3, 3), (50, most)):
            assert one["ensemble"][f"recall@{k}"] == pytest.approx(expected[f"recall@{reached}"])
        assert one["ensemble"]["map@r"] == pytest.approx(expected["map@r"])


@pytest.mark.parametrize("same", [True, False])
def test_pairs_of_the_cosine_are_those_of_a_query_and_the_gallery(same):
    labels = np.array([2, 0, 1, 0, 2, 1, 2, 5, 6])
    gallery = np.array([0, 1, 1, 0, 1, 0, 1, 0, 1], bool)
    expected = {
        (i, j)
        for i, j in itertools.product(range(9), repeat=2)
        if not gallery[i] and gallery[j] and (labels[i] == labels[j]) == same
    }
    left, right = cosine.pairs_across(labels, gallery, same=same)
    drawn, counts = np.unique(np.stack([left, right], axis=1), axis=0, return_counts=True)
    assert {(int(i), int(j)) for i, j in drawn} == expected
    assert counts.max() < 1.2 * cosine.PAIRS / len(expected) and counts.sum() == cosine.PAIRS
    x, y, mask, _ = split()
    assert cosine.between_learners(x, y, mask) != cosine.between_learners(x, y)
    assert cosine.between_learners(x, y, mask) == cosine.between_learners(x, y, mask)


def test_no_pair_across_leaves_it_out():
    x, y, gallery, _ = split()
    rows = (y == 7) | (y == 8)
    assert "positive" not in cosine.between_learners(x[rows], y[rows], gallery[rows])


def test_a_query_is_no_neighbour_of_another():
    """Its twin among the queries is at distance 0, and is not found."""
    labels = np.array([0, 0, 0, 1], np.int32)
    x = np.array([[0], [0], [9], [1]], np.float32)[:, None]
    gallery = np.array([False, False, True, True])
    found = protocols.scores(x, labels, (1,), gallery=gallery)
    assert found.means()["recall@1"] == 0 and found.queries == 2
    assert protocols.scores(x, labels, (1,)).means()["recall@1"] == pytest.approx(2 / 3)


def test_what_cannot_be_measured_is_refused():
    x, y, gallery, _ = split()
    with pytest.raises(UserError, match="none of 70 images is a query image"):
        evaluation.evaluate(x, GroundTruth(y, np.ones(70, bool)))
    with pytest.raises(UserError, match="none of 70 images is a gallery image"):
        evaluation.evaluate(x, GroundTruth(y, np.zeros(70, bool)))
    with pytest.raises(UserError, match="one bool for each of 70 images"):
        protocols.rows(70, gallery[:-1])
    with pytest.raises(UserError, match=f"asked of a gallery that holds {gallery.sum()}"):
        evaluation.evaluate(x, GroundTruth(y, gallery), Measures(ks=(int(gallery.sum()) + 1,)))
    vain = y >= 7
    with pytest.raises(UserError, match="no query has a positive"):
        evaluation.evaluate(x[vain], GroundTruth(y[vain], gallery[vain]), Measures(ks=(1,)))


def test_objects_are_sought_in_the_gallery_alone():
    x, _, gallery, _ = split()
    object_ids = np.random.default_rng(8).integers(0, 12, len(x)).astype(np.int32)
    object_ids[gallery & (object_ids < 3)] = 20  # three objects that are asked for in vain
    found = grains.instance(x, object_ids, gallery, block=8)
    asked = np.flatnonzero(gallery)
    expected = []
    for i in np.flatnonzero(~gallery):
        hits = [
            bool(object_ids[asked[j]] == object_ids[i]) for j in oracles.ranking(x[i], x[asked])
        ]
        if any(hits):
            expected.append(oracles_grains.trapezoid(hits))
    assert found == {
        "images": 70,
        "queries": len(expected),
        "gallery": len(asked),
        "map": pytest.approx(np.mean(expected), abs=1e-12),
    }
    assert len(expected) < len(x) - len(asked)
    assert grains.instance(x, np.arange(70), gallery) == {}


def test_groups_that_the_gallery_has_not_add_nothing():
    x, y, gallery, groups = split()
    found = evaluation.evaluate(
        x, GroundTruth(y, gallery, np.where(gallery, 9, groups)), Measures(ks=KS)
    )
    assert "other_family" not in found
