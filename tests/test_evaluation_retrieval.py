"""The evaluation of a split: its parts, its plain numbers, and the cosine between learners."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import evaluation
from abe_jax.evaluation import GroundTruth, Measures, Ranking, cosine
from abe_jax.evaluation.baselines import centred_pixels

KS = (1, 3)
MEASURES = Measures(ks=KS)


def split(m=3, n=60):
    rng = np.random.default_rng(1)
    y = np.sort(rng.integers(0, 8, n)).astype(np.int32)
    y[0], y[-1] = 90, 99  # singletons
    x = rng.normal(size=(100, m, 4))[y] + rng.normal(size=(n, m, 4))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    groups = rng.integers(0, 4, n).astype(np.int32)
    pixels = rng.integers(0, 256, (n, 4, 4, 1)).astype(np.uint8)
    return x.astype(np.float32), y, groups, pixels


def direct(x, y, **options):
    recalls = evaluation.recall_at_k(x, y, KS, **options)
    return {f"recall@{k}": value for k, value in recalls.items()} | {
        "r_precision": evaluation.r_precision(x, y, **options),
        "map@r": evaluation.map_at_r(x, y, **options),
    }


def test_parts_are_what_the_metrics_give():
    x, y, groups, pixels = split()
    found = evaluation.evaluate(x, GroundTruth(y, groups=groups), MEASURES, pixels=pixels)
    assert (found["images"], found["classes"], found["queries"]) == (60, 10, 58)
    parts = found["metrics"]
    assert parts["ensemble"] == direct(x, y)
    assert parts["ensemble_mean_distance"] == direct(
        x, y, ranking=Ranking(ensemble="mean_distance")
    )
    assert parts["ensemble"] != parts["ensemble_mean_distance"]
    assert parts["learners"] == [direct(x[:, p], y) for p in range(3)]
    each = [learner["map@r"] for learner in parts["learners"]]
    assert parts["learners_mean"]["map@r"] == pytest.approx(sum(each) / 3)
    assert parts["learners_std"]["map@r"] == pytest.approx(np.std(each))
    centred = centred_pixels(pixels)
    assert parts["pixels"] == direct(centred, y)
    assert found["other_family"] == {
        "ensemble": direct(x, y, groups=groups),
        "pixels": direct(centred, y, groups=groups),
    }
    assert found["queries_other_family"] <= 58
    bare = evaluation.evaluate(x, y, MEASURES)
    assert "pixels" not in bare["metrics"] and "other_family" not in bare


def test_plain_numbers_bitwise_the_same_twice():
    x, y, groups, pixels = split()
    found = evaluation.evaluate(x, GroundTruth(y, groups=groups), MEASURES, pixels=pixels)
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    truth = GroundTruth(y, groups=groups)
    again = evaluation.evaluate(jnp.asarray(x), truth, MEASURES, pixels=jnp.asarray(pixels))
    assert json.dumps(again, allow_nan=False) == text
    labels_alone = evaluation.evaluate(x, jnp.asarray(y), MEASURES)
    assert labels_alone["metrics"]["ensemble"] == found["metrics"]["ensemble"]


def test_one_learner_has_no_cosine_and_is_its_ensemble():
    x, y, _, _ = split(m=1)
    found = evaluation.evaluate(x, y, MEASURES)
    assert "cosine" not in found
    parts = found["metrics"]
    assert parts["learners"] == [parts["ensemble"]] == [parts["ensemble_mean_distance"]]
    assert set(parts["learners_std"].values()) == {0.0}


def test_other_family_is_left_out_where_every_class_has_one_group():
    x, y, _, _ = split()
    assert "other_family" not in evaluation.evaluate(x, GroundTruth(y, groups=y), MEASURES)


def test_pixels_are_centred_by_each_image():
    # Own means 20, 20 and 7: rows become (-10, 10), (10, -10) and (0, 0).
    pixels = np.array([[[10], [30]], [[30], [10]], [[7], [7]]], np.uint8)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        centred_pixels(pixels), [[-half, half], [half, -half], [0, 0]], rtol=1e-6
    )


def test_cosine_on_one_image_is_over_every_pair_of_learners():
    x, y, _, _ = split(n=50)
    found = cosine.between_learners(x, y)["same_image"]
    expected = [x[i, p] @ x[i, q] for i in range(50) for p, q in ((0, 1), (0, 2), (1, 2))]
    assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found["std"] == pytest.approx(np.std(expected), abs=1e-6)
    assert sum(found["histogram"]) == 150


def test_cosine_between_learners_by_hand():
    """Learner 0 sees the class, learner 1 its opposite: same image and positives -1, negatives."""
    x = np.array([[[1, 0], [-1, 0]], [[1, 0], [-1, 0]], [[0, 3], [0, -3]], [[0, 1], [0, -1]]])
    found = cosine.between_learners(x.astype(np.float32), np.array([4, 4, 2, 2]))
    for name in ("same_image", "positive"):
        assert found[name]["mean"] == -1 and found[name]["std"] == 0
        assert found[name]["histogram"][0] == sum(found[name]["histogram"])
    assert found["negative"]["mean"] == 0
    assert len(found["edges"]) == 41 and found["edges"][0] == -1 and found["edges"][-1] == 1


def test_drawn_image_pairs_are_all_such_pairs_alike():
    y = np.array([3, 1, 3, 2, 1, 3])
    for same in (True, False):
        left, right = cosine.image_pairs(y, same=same)
        assert (left != right).all() and ((y[left] == y[right]) == same).all()
        pairs, counts = np.unique(np.stack([left, right]), axis=1, return_counts=True)
        assert pairs.shape[1] == (8 if same else 22)
        assert counts.std() / counts.mean() < 0.05
    assert len(cosine.image_pairs(np.arange(4), same=True)[0]) == 0
    assert len(cosine.image_pairs(np.zeros(4, int), same=False)[0]) == 0
