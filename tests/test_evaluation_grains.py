"""The three grains against loops in float64: top-k, mAP of instances, UKBench, copies."""

import json

import numpy as np
import oracles
import oracles_grains
import pytest

from abe_jax.evaluation import grains, whole_rows
from abe_jax.evaluation import ranks as ranks_module
from abe_jax.evaluation.ranks import ranks


def made(seed=0, object_ids=12, m=2, d=5, spread=0.9):
    """Vectors of objects of 1 to 6 images in mixed order, and which object each row shows."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(object_ids), rng.integers(1, 7, object_ids))
    codes = rng.permutation(np.append(codes, object_ids))  # and one alone
    x = rng.normal(size=(object_ids + 1, m, d))[codes] + spread * rng.normal(
        size=(len(codes), m, d)
    )
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return x.astype(np.float32), 100 - 3 * codes


@pytest.mark.parametrize("seed", range(3))
def test_instances_are_what_the_loops_give(seed):
    x, object_ids = made(seed)
    found = grains.instance(x, object_ids, block=8)
    expected, queries = oracles_grains.holidays(x, object_ids)
    assert found["map"] == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected < 0.95  # neither everything right nor nothing
    assert (found["queries"], found["images"]) == (queries, len(x))
    assert found["ukbench"] == pytest.approx(oracles_grains.ukbench(x, object_ids), abs=1e-9)
    sizes = [sum(o == one for o in object_ids) for one in object_ids]
    assert found["ukbench_most"] == pytest.approx(np.mean([min(4, s) for s in sizes if s > 1]))
    assert found["ukbench"] < found["ukbench_most"]
    assert json.loads(json.dumps(found)) == found


def test_the_trapezoid_by_hand():
    # Right ones at the places 0, 2 and 5 of the ranking, then one query with place 3 alone.
    positions = np.array([[5, 0, 2], [3, 7, 7]])
    there = np.array([[True, True, True], [True, False, False]])
    three = (1.0 + (1 / 2 + 2 / 3) / 2 + (2 / 5 + 3 / 6) / 2) / 3
    found = grains.average_precision(positions, there)
    np.testing.assert_allclose(found, [three, (0 / 3 + 1 / 4) / 2], rtol=1e-12)


def test_perfect_instances_and_the_first_image_asks():
    object_ids = np.repeat(np.arange(5), 4)
    x = np.eye(5, dtype=np.float32)[object_ids][:, None]
    found = grains.instance(x, object_ids)
    assert (found["map"], found["ukbench"], found["ukbench_most"]) == (1.0, 4.0, 4.0)
    # The first image of object 0 now looks like object 1: only its own query suffers.
    x[0] = x[4]
    assert grains.instance(x, object_ids)["map"] < 0.9
    x[0], x[1] = x[1].copy(), x[0].copy()
    assert grains.instance(x, object_ids)["map"] > 0.9


def test_objects_of_one_image_each_measure_nothing():
    x, _ = made()
    assert grains.instance(x, np.arange(len(x))) == {}


@pytest.mark.parametrize("block", [3, 64])
def test_ranks_are_places_in_the_ranking(block, monkeypatch):
    # Chunks of 128 rows, so that targets lie in several; equal vectors rank by their index.
    monkeypatch.setattr(whole_rows, "ROWS_AT_ONCE", 128)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (300, 2, 2)).astype(np.float32)
    rows = np.array([7, 250, 0, 131])
    targets = np.array([[3, 8, 299], [0, 251, -1], [1, 128, 130], [132, 5, 77]])
    found = ranks(x, x, targets, rows=rows, block=block)
    for row, own, positions in zip(rows, targets, found, strict=True):
        order = oracles.ranking(x[row], x, own=row)
        for target, place in zip(own, positions, strict=True):
            assert target < 0 or place == order.index(target)


def test_ranks_are_those_of_float64_far_from_the_origin_and_at_any_size(monkeypatch):
    monkeypatch.setattr(ranks_module, "BOUNDS_AT_ONCE", 200)  # a few queries at once
    x, _ = made()
    targets = (np.arange(len(x))[:, None] + np.array([[1, 5]])) % len(x)
    for offset, scale in ((1e4, 1.0), (0.0, 1e-20), (3e3, 1e15)):
        moved = ((x + offset) * scale).astype(np.float32)
        moved[3] = moved[9]  # equal rows
        orders = [oracles.ranking(moved[i], moved, own=i) for i in range(len(x))]
        expected = [[o.index(t) for t in own] for o, own in zip(orders, targets, strict=True)]
        assert ranks(moved, moved, targets, rows=np.arange(len(x))).tolist() == expected


def test_ranks_of_queries_that_are_not_the_gallery():
    x, _ = made()
    queries = x[:9] + np.float32(0.3)
    targets = np.stack([np.arange(9), np.arange(9, 18)], axis=1)  # the row itself counts
    found = ranks(queries, x, targets, block=8)
    orders = [oracles.ranking(query, x) for query in queries]
    expected = [[order.index(t) for t in own] for order, own in zip(orders, targets, strict=True)]
    assert found.tolist() == expected and 0 in found[:, 0] and found.max() > 9


def test_copies_are_what_the_loops_give():
    x, _ = made(spread=0.5)
    rng = np.random.default_rng(1)
    sources = rng.integers(0, len(x), 20)
    kinds = np.arange(20) % 2
    queries = (x[sources] + (0.2 + kinds[:, None, None]) * rng.normal(size=(20, 2, 5))).astype(
        np.float32
    )
    found = grains.copies(queries, sources, kinds, ("weak", "strong", "none"), x, block=8)
    positions = [oracles.ranking(q, x).index(o) for q, o in zip(queries, sources, strict=True)]
    areas = np.array(
        [oracles_grains.trapezoid([i == place for i in range(len(x))]) for place in positions]
    )
    first = np.array([place == 0 for place in positions])
    assert found["map"] == pytest.approx(areas.mean())
    assert found["recall@1"] == pytest.approx(first.mean())
    assert list(found["attacks"]) == ["weak", "strong"]
    for name, kind in (("weak", 0), ("strong", 1)):
        assert found["attacks"][name]["map"] == pytest.approx(areas[kinds == kind].mean())
        assert found["attacks"][name]["recall@1"] == pytest.approx(first[kinds == kind].mean())
    assert found["attacks"]["weak"]["map"] > found["attacks"]["strong"]["map"]
    assert (found["queries"], found["gallery"]) == (20, len(x))


@pytest.mark.parametrize("m", [1, 3])
def test_top_k_is_what_the_loops_give(m):
    rng = np.random.default_rng(m)
    x, w = rng.normal(size=(40, m, 4)), rng.normal(size=(m, 4, 9))
    bias, labels = rng.normal(size=(m, 9)), rng.integers(0, 9, 40)
    found = grains.top_k(x, w, bias, labels, ks=(1, 5, 9), block=16)
    right = {1: 0, 5: 0}
    for i in range(40):
        logits = [
            sum(float(x[i, p] @ w[p, :, c]) + bias[p, c] for p in range(m)) / m for c in range(9)
        ]
        order = sorted(range(9), key=lambda c: -logits[c])
        for k in right:
            right[k] += labels[i] in order[:k]
    assert found == {"top-1": right[1] / 40, "top-5": right[5] / 40}
    assert 0 < found["top-1"] < found["top-5"] < 1


def test_equal_logits_rank_by_class():
    zeros = np.zeros((4, 1, 2))
    found = grains.top_k(zeros, np.zeros((1, 2, 3)), np.zeros((1, 3)), np.array([0, 1, 2, 0]))
    assert found == {"top-1": 0.5}
