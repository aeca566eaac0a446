"""Re-identification: every figure beside a loop that goes by the words of the protocol."""

import json
from typing import Any

import numpy as np
import oracles
import pytest
import report_examples as examples

from abe_jax import evaluation
from abe_jax.data.split import Split
from abe_jax.errors import UserError
from abe_jax.evaluation import GroundTruth, Measures, Results, reidentification
from abe_jax.evaluation.across_cameras import JUNK
from abe_jax.report import across_cameras, tables
from abe_jax.runs import divisions


def looped(x, labels, cameras, gallery, ks=(1, 5, 10)):
    """Figures of all queries that have a right image, one query at a time."""
    x = np.asarray(x, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    found = []
    for i in np.flatnonzero(~gallery):
        asked = [
            j
            for j in np.flatnonzero(gallery)
            if labels[j] != JUNK and not (labels[j] == labels[i] and cameras[j] == cameras[i])
        ]
        order = [asked[at] for at in oracles.ranking(x[i], x[asked])]
        right = [place for place, j in enumerate(order, start=1) if labels[j] == labels[i]]
        if right:
            one = {f"rank-{k}": float(right[0] <= k) for k in ks}
            one["map"] = sum(n / place for n, place in enumerate(right, start=1)) / len(right)
            one["minp"] = len(right) / right[-1]
            found.append(one)
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}, len(found)


def people(seed, n=90, m=2):
    """Small whole numbers, so that many distances are equal; junk, distractors, lone queries."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 9, n)
    cameras, gallery = rng.integers(0, 4, n), rng.random(n) < 0.7
    x = rng.integers(-1, 2, (20, m, 3))[labels] + rng.integers(-1, 2, (n, m, 3))
    labels[:6], gallery[:6] = JUNK, True
    labels[6:12], gallery[6:12] = 11, True  # whom nobody asks for
    labels[12:14], gallery[12:14] = (12, 13), False  # who are not in the gallery
    labels[14:17], cameras[14:17] = 14, 2  # whom one camera alone saw
    gallery[14:17] = (False, True, True)
    return x.astype(np.float32), labels, cameras, gallery


@pytest.mark.parametrize("seed", range(4))
def test_cmc_map_and_minp_are_those_of_the_loop(seed):
    x, labels, cameras, gallery = people(seed)
    expected, queries = looped(x, labels, cameras, gallery)
    found = reidentification(x, labels, cameras, gallery, block=8)
    assert len(found.rows) == queries < (~gallery).sum() - 2
    assert found.means() == pytest.approx(expected, abs=1e-12)
    assert found.gallery == (gallery & (labels != JUNK)).sum()
    flat = reidentification(x.reshape(len(x), -1), labels, cameras, gallery)
    np.testing.assert_array_equal(flat.average_precision, found.average_precision)


def test_dropping_the_whole_camera_would_give_another_number():
    """Another person under the query's own camera stays in the gallery, and is nearest."""
    labels, cameras = np.array([1, 1, 2, 1, 1]), np.array([1, 1, 1, 2, 3])
    gallery = np.array([False, True, True, True, True])
    x = np.array([[0.0], [0.1], [0.2], [0.3], [0.4]], np.float32)
    means = reidentification(x, labels, cameras, gallery).means((1, 2))
    assert means == pytest.approx(
        {"rank-1": 0, "rank-2": 1, "map": (1 / 2 + 2 / 3) / 2, "minp": 2 / 3}
    )
    # Nothing dropped: its own frame at 0.1 is found. The camera dropped: all that is left is right.
    assert reidentification(x, labels, np.arange(5), gallery).means()["rank-1"] == 1
    complete = gallery & (cameras != 1)
    rows = np.flatnonzero(complete | ~gallery)
    without = reidentification(x[rows], labels[rows], cameras[rows], gallery[rows])
    assert without.means()["map"] == without.means()["minp"] == 1


def test_junk_is_neither_right_nor_wrong_and_a_distractor_is_wrong():
    labels, cameras = np.array([1, JUNK, 0, 1]), np.array([1, 2, 2, 2])
    gallery, x = np.array([False, True, True, True]), np.arange(4.0, dtype=np.float32)[:, None]
    found = reidentification(x, labels, cameras, gallery)
    assert found.first.tolist() == [1] and found.gallery == 2
    assert list(found.means()) == ["rank-1", "map", "minp"]  # K beyond the gallery is left out


def test_what_cannot_be_measured_is_refused():
    x, labels, cameras, gallery = people(0)
    with pytest.raises(UserError, match="no query has an image of its person under another camera"):
        reidentification(x, labels, np.zeros_like(cameras), gallery)
    with pytest.raises(UserError, match="no query has an image of its person"):
        reidentification(x, np.where(gallery, JUNK, labels), cameras, gallery)
    with pytest.raises(UserError, match="none of 90 images is a query image"):
        reidentification(x, labels, cameras, np.ones(90, bool))
    with pytest.raises(UserError, match="cameras of shape"):
        reidentification(x, labels, cameras[1:], gallery)


def known(seed=1):
    """An evaluation without junk, which splits do not have."""
    x, labels, cameras, gallery = people(seed)
    rows = labels != JUNK
    return x[rows], labels[rows], cameras[rows], gallery[rows]


def test_an_evaluation_has_it_where_there_are_cameras_and_a_gallery():
    x, labels, cameras, gallery = known()
    rng = np.random.default_rng(0)
    pixels, white = rng.integers(0, 9, (len(x), 2, 2, 1)), rng.normal(size=(len(x), 3))
    beside = {"pixels": pixels.astype(np.uint8), "whitened": white.astype(np.float32)}
    truth, measures = GroundTruth(labels, gallery, cameras=cameras), Measures(block=8)
    found = evaluation.evaluate(x, truth, measures, **beside)
    numbers = found.pop("reidentification")
    assert found == evaluation.evaluate(x, GroundTruth(labels, gallery), measures, **beside)
    assert "reidentification" not in evaluation.evaluate(x, GroundTruth(labels, cameras=cameras))
    expected, queries = looped(x, labels, cameras, gallery)
    assert (numbers["queries"], numbers["gallery"]) == (queries, gallery.sum())
    assert numbers["metrics"]["ensemble"] == pytest.approx(expected, abs=1e-12)
    each = [looped(x[:, p], labels, cameras, gallery)[0] for p in (0, 1)]
    for name, value in numbers["metrics"]["learners_mean"].items():
        assert value == pytest.approx((each[0][name] + each[1][name]) / 2, abs=1e-12)
    whitened = looped(beside["whitened"], labels, cameras, gallery)[0]
    assert numbers["metrics"]["whitened"] == pytest.approx(whitened, abs=1e-12)
    assert 0 < numbers["metrics"]["pixels"]["map"] < 1
    results = Results.from_json(Results({"reidentification": numbers}).to_json())
    assert results.reidentification is not None
    assert results.reidentification.rank[5] == pytest.approx(expected["rank-5"])
    assert results.reidentification.minp == pytest.approx(expected["minp"])
    assert Results({}).reidentification is None


def test_nothing_across_cameras_is_said_and_not_refused():
    x, labels, _, gallery = known()
    one = GroundTruth(labels, gallery, cameras=np.zeros(len(x), int))
    found = evaluation.evaluate(x, one)["reidentification"]
    assert found == {"queries": 0, "gallery": int(gallery.sum()), "metrics": {}}
    assert Results({"reidentification": found}).reidentification is None
    (line,) = across_cameras.lines({"reidentification": found})
    assert line.endswith("no query has an image of its person under another camera")


def test_cameras_of_a_split_follow_the_images_that_can_be_read():
    split = Split(
        name="test",
        records=[b""] * 3,
        labels=np.array([0, 0, 1], np.int32),
        class_names=("a", "b"),
        cameras=np.array([4, 7, 9], np.int32),
    )
    np.testing.assert_array_equal(GroundTruth.of(split, np.array([2, 0])).cameras, [9, 4])


TABLE = """\
across cameras (re-identification), 3,368 queries, 15,913 in the gallery:
                           rank-1 %  rank-5 %    mAP   mINP
  ensemble, concatenation      91.2      97.0  0.780  0.450
  learners, mean               85.0      94.0  0.700  0.400
  raw pixels, no training       5.0      12.5  0.010  0.001"""


def test_the_table_is_printed_to_the_letter():
    names = ("rank-1", "rank-5", "map", "minp")
    values = {
        "ensemble": (0.912, 0.97, 0.78, 0.45),
        "learners_mean": (0.85, 0.94, 0.7, 0.4),
        "pixels": (0.05, 0.125, 0.01, 0.001),
    }
    metrics = {part: dict(zip(names, of, strict=True)) for part, of in values.items()}
    numbers = {"queries": 3368, "gallery": 15913, "metrics": metrics}
    result = examples.result() | {"reidentification": json.loads(json.dumps(numbers))}
    printed = tables.evaluation_table(result, split="test")
    assert printed == tables.evaluation_table(examples.result(), split="test") + "\n" + TABLE
    page = across_cameras.section({"test": result, "val": examples.result()})
    assert page.count("<table") == 1 and "<td>0.780</td>" in page and "3,368 queries" in page
    assert across_cameras.section({"val": examples.result()}) == ""


def test_several_divisions_have_their_spread():
    found: dict[str, Any] = {"queries": 316, "gallery": 316, "divisions": 10}
    found["metrics"] = {"ensemble": {"rank-1": 0.5, "map": 0.6}}
    found["std"] = {"ensemble": {"rank-1": 0.025, "map": 0.02}}
    assert tables.evaluation_table({"reidentification": found}, split="x").startswith("x\nacross")
    assert "50.0 ± 2.5" in across_cameras.lines({"reidentification": found})[2]
    assert "0.600 ± 0.020" in across_cameras.lines({"reidentification": found})[2]
    assert "mean ± std of 10 divisions" in across_cameras.heading({"reidentification": found})
    found["measured"] = 9
    words = "mean ± std of the 9 with figures of 10 divisions"
    assert words in across_cameras.heading({"reidentification": found})


def test_divisions_without_figures_are_in_no_mean_and_counted():
    def division(metrics):
        return {"reidentification": {"queries": 4, "gallery": 6, "metrics": metrics}}

    found = divisions.summary(
        [division({"ensemble": {"map": 0.5}}), division({}), division({"ensemble": {"map": 0.7}})]
    )["reidentification"]
    assert (found["divisions"], found["measured"]) == (3, 2)
    assert found["metrics"]["ensemble"]["map"] == pytest.approx(0.6)
