"""Each domain evaluated by itself, against loops over images."""

import json

import numpy as np
import pytest

from abe_jax import evaluation
from abe_jax.errors import UserError
from abe_jax.evaluation import GroundTruth, Measures
from abe_jax.evaluation.baselines import centred_pixels
from abe_jax.evaluation.by_domain import by_domain
from abe_jax.report import tables

KS = (1, 3, 8)
NAMES = ("Caslon", "absent", "Gill", "small", "lone")
DOMAINS = Measures(ks=KS, domains=True)


def truth(labels, groups):
    return GroundTruth(labels, None, groups, NAMES)


def split(n=70):
    """Three domains that can be measured, the third of 6 images, and one without a positive."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 6, n).astype(np.int32)
    groups = rng.choice(np.array([0, 2], np.int32), n)
    groups[:6], y[:6] = 3, [0, 0, 1, 1, 1, 2]
    groups[6:9], y[6:9] = 4, [0, 1, 2]
    order = rng.permutation(n)
    y, groups = y[order], groups[order]
    x = rng.normal(size=(6, 2, 4))[y] + rng.normal(size=(n, 2, 4))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    pixels = rng.integers(0, 256, (n, 3, 3, 1)).astype(np.uint8)
    return x.astype(np.float32), y, groups, pixels


def looped(x, y, groups, group):
    """Every metric of one domain, query by query."""
    x = x.reshape(len(x), -1).astype(np.float64)
    own = [i for i in range(len(y)) if groups[i] == group]
    values: dict[str, list[float]] = {f"recall@{k}": [] for k in KS}
    values |= {"r_precision": [], "map@r": []}
    for i in own:
        others = [j for j in own if j != i]
        ranked = sorted(others, key=lambda j: ((x[i] - x[j]) ** 2).sum())
        match = [bool(y[j] == y[i]) for j in ranked]
        if not any(match):
            continue
        for k in KS:
            values[f"recall@{k}"].append(float(any(match[:k])))
        r = sum(match)
        values["r_precision"].append(sum(match[:r]) / r)
        precisions = [sum(match[: p + 1]) / (p + 1) * match[p] for p in range(r)]
        values["map@r"].append(sum(precisions) / r)
    about = {"images": len(own), "classes": len({int(y[i]) for i in own})}
    means = {name: float(np.mean(one)) for name, one in values.items() if one}
    return about | {"queries": len(values["map@r"])}, means


def test_each_domain_is_what_loops_over_its_own_images_give():
    x, y, groups, pixels = split()
    found = evaluation.evaluate(x, truth(y, groups), DOMAINS, pixels=pixels)
    domains, centred = found["domains"], centred_pixels(pixels)
    assert list(domains["each"]) == ["Caslon", "Gill", "small"]
    assert domains["left_out"] == ["lone"]
    for name, one in domains["each"].items():
        group = NAMES.index(name)
        for kind, vectors in (("ensemble", x), ("pixels", centred)):
            about, means = looped(vectors, y, groups, group)
            assert {key: one[key] for key in about} == about
            assert one[kind] == pytest.approx(means, abs=1e-12)
    small = domains["each"]["small"]
    assert (small["images"], small["classes"], small["queries"]) == (6, 3, 5)
    assert small["ensemble"]["recall@8"] == 1.0  # of five others, each is among the first eight
    assert json.loads(json.dumps(domains, allow_nan=False)) == domains


def test_the_mean_gives_each_domain_the_same_weight():
    x, y, groups, pixels = split()
    found = evaluation.evaluate(x, truth(y, groups), DOMAINS, pixels=pixels)["domains"]
    for kind in ("ensemble", "pixels"):
        values = [one[kind] for one in found["each"].values()]
        for key in values[0]:
            mean = sum(value[key] for value in values) / 3
            assert found["mean"][kind][key] == pytest.approx(mean, abs=1e-12)
    counts = np.array([one["queries"] for one in found["each"].values()])
    weighted = counts @ [one["ensemble"]["map@r"] for one in found["each"].values()] / counts.sum()
    assert abs(found["mean"]["ensemble"]["map@r"] - weighted) > 1e-3


def test_images_of_other_domains_change_nothing():
    x, y, groups, _ = split()
    together = evaluation.evaluate(x, truth(y, groups), DOMAINS)["domains"]["each"]["Gill"]
    own = groups == 2
    alone = evaluation.evaluate(x[own], y[own], Measures(ks=KS))
    assert together["ensemble"] == alone["metrics"]["ensemble"]
    assert together["queries"] == alone["queries"] and "pixels" not in together


def test_domains_are_measured_only_where_they_are_asked_for():
    x, y, groups, _ = split()
    assert "domains" not in evaluation.evaluate(x, truth(y, groups), Measures(ks=KS))
    with pytest.raises(UserError, match="need the groups"):
        evaluation.evaluate(x, GroundTruth(y, group_names=NAMES), DOMAINS)
    with pytest.raises(UserError, match="groups go from 0 to 4, but 4 have a name"):
        evaluation.evaluate(x, GroundTruth(y, None, groups, NAMES[:4]), DOMAINS)


def test_without_a_domain_that_can_be_measured_there_is_no_mean():
    labels, groups = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    vectors = {"ensemble": np.eye(4, dtype=np.float32)}
    found = by_domain(vectors, GroundTruth(labels, None, groups, ("one", "other")), (1,))
    assert found == {"each": {}, "left_out": ["one", "other"]}


TABLE = """\
test · 9 images, 3 classes
                           MAP@R  R@1 %
embedding                  0.250   50.0
neighbours of the query's own family left out:
  embedding                0.200   40.0
each domain by itself, mean of 2 (without a query that has a positive: lone, odd):
  embedding                0.300   60.0
  raw pixels, no training  0.100   20.0
each domain by itself (queries):
  Caslon (1,234)           0.400   70.0
  Gill (5)                 0.200   50.0"""


def test_the_table_has_the_mean_its_baseline_and_every_domain():
    def row(recall: float, precision: float) -> dict[str, float]:
        return {"recall@1": recall, "map@r": precision}

    result = {
        "images": 9,
        "classes": 3,
        "metrics": {"ensemble": row(0.5, 0.25), "learners": [row(0.5, 0.25)]},
        "other_family": {"ensemble": row(0.4, 0.2)},
        "domains": {
            "each": {
                "Caslon": {"queries": 1234, "ensemble": row(0.7, 0.4), "pixels": row(0.1, 0.1)},
                "Gill": {"queries": 5, "ensemble": row(0.5, 0.2), "pixels": row(0.3, 0.1)},
            },
            "mean": {"ensemble": row(0.6, 0.3), "pixels": row(0.2, 0.1)},
            "left_out": ["lone", "odd"],
        },
    }
    assert tables.evaluation_table(result, split="test") == TABLE
