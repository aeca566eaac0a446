"""The threshold for a goal, against every distance tried; ties, and too few images."""

from pathlib import Path

import numpy as np
import pytest

from abe_jax.errors import UserError
from abe_jax.index import calibration, snapshot, store, threshold
from abe_jax.index.calibration import LabelledNeighbours
from abe_jax.index.manifest import VectorSpec
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot


def measured(seed: int, n: int = 200, *, levels: int = 60) -> LabelledNeighbours:
    """Queries whose right answers are nearer on average, with many equal distances."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.7
    near = np.where(right, rng.gamma(2.0, 0.1, n), rng.gamma(4.0, 0.15, n))
    near = np.round(near * levels) / levels
    other = np.where(right, near + np.round(rng.gamma(2.0, 0.2, n) * levels) / levels, near)
    near[:3], right[:3], other[:3] = np.inf, False, np.inf  # no neighbour at all
    return LabelledNeighbours(near, right, other, right | (rng.random(n) < 0.5))


def rates(of: LabelledNeighbours, limit: float) -> tuple[float, float, int]:
    within = [d <= limit for d in of.nearest]
    hits = sum(bool(w and r) for w, r in zip(within, of.right, strict=True))
    false = sum(d <= limit for d in of.other) / len(of.other)
    return hits / max(1, sum(within)), false, sum(within)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("goal", [0.8, 0.9])
def test_the_threshold_is_the_greatest_of_that_precision(seed: int, goal: float) -> None:
    of = measured(seed)
    chosen = threshold.at_precision(of, goal)
    least = round(1 / (1 - goal))
    good = [
        d
        for d in set(of.nearest) - {np.inf}
        if rates(of, d)[0] >= goal and rates(of, d)[2] >= least
    ]
    assert chosen.distance == max(good)
    precision, false, matches = rates(of, chosen.distance)
    assert chosen.measured["precision"] == pytest.approx(precision) and precision >= goal
    assert chosen.measured["false_match_rate"] == pytest.approx(false)
    assert chosen.measured["matches"] == matches and chosen.measured["queries"] == 200
    recall = sum(r and d <= chosen.distance for d, r in zip(of.nearest, of.right, strict=True))
    assert chosen.measured["recall"] == pytest.approx(recall / of.answerable.sum())
    assert chosen.wish == f"precision {goal:g}"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("goal", [0.01, 0.1, 0.25])
def test_the_threshold_is_the_greatest_of_that_rate(seed: int, goal: float) -> None:
    of = measured(seed)
    chosen = threshold.at_false_match_rate(of, goal)
    good = [d for d in set(of.nearest) - {np.inf} if rates(of, d)[1] <= goal]
    assert chosen.distance == max(good) and rates(of, chosen.distance)[1] <= goal
    assert chosen.wish == f"false-match rate {goal:g}"


def hand(
    right: list[int], near: list[float], other: list[float] | None = None
) -> LabelledNeighbours:
    flags = np.array(right, bool)
    beyond = np.array(other or [9.0] * len(right))
    return LabelledNeighbours(np.array(near), flags, beyond, np.ones(len(right), bool))


def test_equal_distances_are_all_in_or_all_out() -> None:
    # Of the five at 0.3 two are wrong: precision 2/2 without them, 5/7 with them.
    of = hand([1, 1, 1, 1, 1, 0, 0], [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3])
    assert threshold.at_precision(of, 0.5).distance == 0.3
    assert threshold.at_precision(of, 5 / 7).distance == 0.3
    with pytest.raises(UserError, match=r"precision: 0.72 cannot be reached; .* is 0.7142"):
        threshold.at_precision(of, 0.72)
    false = hand([1] * 4, [0.1, 0.2, 0.3, 0.4], [0.3, 0.3, 0.5, 0.6])
    assert threshold.at_false_match_rate(false, 0.49).distance == 0.2  # at 0.3 it is 0.5
    assert threshold.at_false_match_rate(false, 0.5).distance == 0.4
    assert threshold.at_false_match_rate(false, 0.25).distance == 0.2


def test_precision_may_fall_and_rise_again() -> None:
    right = [1, 0, 0, 1, 1, 1, 1, 1]
    of = hand(right, [i / 10 for i in range(8)])
    assert threshold.at_precision(of, 0.75).distance == 0.7
    assert threshold.at_precision(hand(right[:5], [0.0, 0.1, 0.2, 0.3, 0.4]), 0.6).distance == 0.4


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (0.99, "needs 100 labelled images with a neighbour at least; there are 20"),
        (0.95, "cannot be reached; the best over 20 matches and more is 0.9000"),
        (1.0, "above 0 and below 1"),
        (0.0, "above 0 and below 1"),
        (float("nan"), "above 0 and below 1"),
    ],
)
def test_precisions_that_cannot_be(goal: float, says: str) -> None:
    of = hand([1] * 18 + [0] * 2, [0.1] * 20)
    with pytest.raises(UserError, match=says):
        threshold.at_precision(of, goal)


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (0.001, "needs 1000 labelled images at least; there are 20"),
        (0.05, "cannot be reached; at the smallest distance of all it is 0.1000"),
        (1.5, "above 0 and below 1"),
    ],
)
def test_rates_that_cannot_be(goal: float, says: str) -> None:
    of = hand([1] * 20, [0.1] * 20, [0.1, 0.1, *[0.5] * 18])
    with pytest.raises(UserError, match=says):
        threshold.at_false_match_rate(of, goal)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def indexed(folder: Path, vectors: np.ndarray, rows: list[ImageRow], storage: str) -> Snapshot:
    store.create(folder, VectorSpec("f", vectors.shape[1], vectors.shape[2], storage))
    store.add(folder, vectors, rows, "f")
    return snapshot.read(folder)


@pytest.mark.parametrize("storage", ["float32", "binary"])
def test_what_is_measured_is_what_search_would_say(storage: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = ["a"] * 70 + ["b"] * 5 + ["c"] + ["", "", ""]  # more of `a` than looked at first
    centres = {label: rng.standard_normal((2, 8)) for label in {*labels, "d"}}
    x = unit(np.stack([centres[y] + rng.normal(0, 0.5, (2, 8)) for y in labels]))
    rows = [ImageRow(f"/{i}", label) for i, label in enumerate(labels)]
    now = indexed(tmp_path / "index", x, rows, storage)
    # Queries: those of the index under their own paths, and new ones, also of a label it lacks.
    more = ["a", "b", "d"]
    new = unit(np.stack([centres[y] + rng.normal(0, 0.5, (2, 8)) for y in more]))
    queries, asked = np.concatenate([x[:76], new]), labels[:76] + more
    paths = [f"/{i}" for i in range(76)] + ["/new0", "/new1", "/new2"]
    of = calibration.labelled_neighbours(now, queries, paths, asked)
    g = now.vectors(now.ids()).reshape(len(labels), -1).astype(np.float64)
    for i, (vector, path, label) in enumerate(zip(queries, paths, asked, strict=True)):
        q = vector.reshape(-1).astype(np.float64)
        if storage == "binary":
            distances = ((q > 0) != (g > 0)).sum(axis=1).astype(float)
        else:
            distances = ((q - g) ** 2).sum(axis=1)
        there = [j for j, row in enumerate(rows) if row.label and row.path != path]
        best = min(there, key=lambda j: (distances[j], j))
        assert of.nearest[i] == pytest.approx(distances[best], abs=1e-12)
        assert of.right[i] == (rows[best].label == label)
        others = [distances[j] for j in there if rows[j].label != label]
        assert of.other[i] == pytest.approx(min(others), abs=1e-12)
        assert of.answerable[i] == any(rows[j].label == label for j in there)
    assert not of.answerable[75] and not of.answerable[78] and of.answerable[76]


def test_labels_are_needed_on_both_sides(tmp_path: Path) -> None:
    x = unit(np.random.default_rng(0).standard_normal((3, 1, 4)))
    now = indexed(tmp_path / "a", x, [ImageRow("/0"), ImageRow("/1"), ImageRow("/2")], "float32")
    with pytest.raises(UserError, match="1 of 3 images have no label to calibrate by"):
        calibration.labelled_neighbours(now, x, ["/0", "/1", "/2"], ["a", "", "b"])
    with pytest.raises(UserError, match="no image in the index has a label"):
        calibration.labelled_neighbours(now, x, ["/0", "/1", "/2"], ["a", "a", "b"])


def test_an_index_of_one_label_has_no_others(tmp_path: Path) -> None:
    x = unit(np.random.default_rng(0).standard_normal((30, 1, 4)))
    rows = [ImageRow(f"/{i}", "a") for i in range(30)]
    of = calibration.labelled_neighbours(
        indexed(tmp_path / "a", x, rows, "float32"), x[:5], [f"/{i}" for i in range(5)], ["a"] * 5
    )
    assert np.isinf(of.other).all() and of.right.all() and np.isfinite(of.nearest).all()
    one = indexed(tmp_path / "b", x[:1], rows[:1], "float32")
    alone = calibration.labelled_neighbours(one, x[:2], ["/0", "/0"], ["a", "a"])
    assert np.isinf(alone.nearest).all() and not alone.right.any() and not alone.answerable.any()
    with pytest.raises(UserError, match="no labelled image has a neighbour"):
        threshold.at_false_match_rate(alone, 0.5)
