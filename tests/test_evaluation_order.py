"""Neighbours and metrics rank as float64 does, wherever vectors lie and however large they are."""

import numpy as np
import oracles
import pytest

from abe_jax import evaluation
from abe_jax.evaluation import LabelledGallery, Ranking, order
from abe_jax.evaluation.knn import ENSEMBLES, knn


def clusters(n, m=2, d=8, classes=15, seed=0):
    """Vectors of classes, in mixed order, in float64, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    return rng.normal(size=(classes, m, d))[labels] + 0.5 * rng.normal(size=(n, m, d)), labels


def nearly_coincident(x):
    """Unit vectors of each learner, of cosine 0.9999995 and more."""
    x = np.ones(x.shape) + 2e-4 * x / np.abs(x).max()
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def outlier(x):
    x = x.copy()
    x[7], x[11] = 1e30, -2e25
    return x


def two_places(x):
    """Half here, half there: no common offset that could be taken off."""
    return x + np.where(np.arange(len(x)) % 2, 1e4, -1e4)[:, None, None]


MOVED = {
    "as drawn": lambda x: x,
    "1e3 off": lambda x: x + 1e3,
    "1e4 off": lambda x: x + 1e4,
    "1e6 off": lambda x: x + 1e6,
    "one coordinate 1e5 off": lambda x: x + 1e5 * (np.arange(x.shape[-1]) == 2),
    "of size 1e-20": lambda x: 1e-20 * x,
    "of size 1e-38": lambda x: 1e-38 * x,
    "of size 1e19": lambda x: 1e19 * x,
    "of size 1e37": lambda x: 1e37 * x,
    "1e4 off, of size 1e-20": lambda x: 1e-20 * (x + 1e4),
    "1e4 off, of size 1e19": lambda x: 1e19 * (x + 1e4),
    "of all sizes": lambda x: x * np.logspace(-20, 18, len(x))[:, None, None],
    "nearly coincident": nearly_coincident,
    "with an outlier": outlier,
    "in two places": two_places,
    "in whole numbers": lambda x: np.rint(x),
    "a few steps of float32 apart": lambda x: 0.04 + 2e-9 * np.rint(x),
    "all equal": lambda x: 0 * x + 0.3,
}
moved = pytest.mark.parametrize("move", MOVED.values(), ids=MOVED)


def by_float64(queries, gallery, *, rooted=False, exclude_self=False):
    """Distances and rows in their order, from a loop over the queries in float64."""
    distances = []
    for i, query in enumerate(queries.astype(np.float64)):
        squared = ((gallery.astype(np.float64) - query) ** 2).sum(axis=-1)
        own = np.sqrt(squared).mean(axis=1) if rooted else squared.sum(axis=1)
        own[i : i + exclude_self] = np.inf
        distances.append(own)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(np.array(distances), order, axis=1), order


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@moved
def test_neighbours(move, ensemble):
    x = move(clusters(300)[0]).astype(np.float32)
    expected, order = by_float64(x, x, rooted=ensemble == "mean_distance", exclude_self=True)
    distances, found = knn(x, x, 20, exclude_self=True, ranking=Ranking(ensemble=ensemble))
    np.testing.assert_array_equal(found, order[:, :20])
    np.testing.assert_allclose(distances, expected[:, :20], rtol=1e-12, atol=0)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_neighbours_in_a_gallery_elsewhere(ensemble):
    x = clusters(300)[0]
    rooted = ensemble == "mean_distance"
    for queries, gallery in ((x[:40] + 1e4, x), (x[:40], x + 1e4), (1e-15 * x[:40], 1e12 * x)):
        both = queries.astype(np.float32), gallery.astype(np.float32)
        _, order = by_float64(*both, rooted=rooted)
        found = knn(*both, 10, ranking=Ranking(ensemble=ensemble))[1]
        np.testing.assert_array_equal(found, order[:, :10])


@pytest.mark.parametrize("k", [300, 299])
def test_all_neighbours(k):
    """So many that whole rows are sorted."""
    for move in (MOVED["as drawn"], MOVED["1e4 off"], MOVED["in whole numbers"]):
        x = move(clusters(300)[0]).astype(np.float32)
        found = knn(x, x, k, exclude_self=k < 300)[1]
        expected = by_float64(x, x, exclude_self=k < 300)[1][:, :k]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@moved
def test_metrics(move, ensemble):
    x, labels = clusters(105)
    x = move(x).astype(np.float32)
    ranking, rooted = Ranking(ensemble=ensemble), ensemble == "mean_distance"
    expected, queries = oracles.retrieval(x, labels, (1, 4), rooted=rooted)
    found = evaluation.scores(x, labels, (1, 4), ranking=ranking)
    assert found.queries == queries and found.means() == pytest.approx(expected, rel=1e-12)
    assert evaluation.recall_at_k(x, labels, (1, 4), ranking=ranking) == {
        k: pytest.approx(expected[f"recall@{k}"]) for k in (1, 4)
    }
    assert evaluation.r_precision(x, labels, ranking=ranking) == pytest.approx(
        expected["r_precision"]
    )
    assert evaluation.map_at_r(x, labels, ranking=ranking) == pytest.approx(expected["map@r"])


@pytest.mark.parametrize("grouped", [False, True])
@moved
def test_metrics_of_queries_that_ask_a_gallery(move, grouped):
    x, labels = clusters(100)
    x = move(x).astype(np.float32)
    gallery = np.arange(100) % 4 > 0
    groups = np.arange(100) % 3 if grouped else None
    expected, _ = oracles.retrieval(x, labels, (1, 4), gallery=gallery, groups=groups)
    rows = LabelledGallery(x[gallery], labels[gallery], None if groups is None else groups[gallery])
    found = evaluation.scores(
        x[~gallery],
        labels[~gallery],
        (1, 4),
        groups=None if groups is None else groups[~gallery],
        gallery=rows,
    )
    assert found.means() == pytest.approx(expected, rel=1e-12)


def metrics_from(order, labels):
    """Recall@1, R-precision and MAP@R of one query after another."""
    rows = []
    for i, others in enumerate(order):
        hits = labels[others] == labels[i]
        r = hits.sum()
        precision = np.cumsum(hits[:r]) / np.arange(1, r + 1)
        rows.append((hits[0], hits[:r].mean(), (precision * hits[:r]).sum() / r))
    return dict(zip(("recall@1", "r_precision", "map@r"), np.mean(rows, axis=0), strict=True))


HUGE = {name: MOVED[name] for name in ("as drawn", "1e4 off", "of size 1e19", "in whole numbers")}


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("move", HUGE.values(), ids=HUGE)
def test_metrics_of_huge_classes(move, ensemble):
    x, labels = clusters(600, d=4, classes=40)
    labels //= 20
    x = move(x).astype(np.float32)
    _, order = by_float64(x, x, rooted=ensemble == "mean_distance", exclude_self=True)
    found = evaluation.scores(x, labels, (1,), ranking=Ranking(ensemble=ensemble)).means()
    assert found == pytest.approx(metrics_from(order[:, :-1], labels), rel=1e-12)
    assert found["map@r"] < 0.99


def test_metrics_of_huge_classes_of_codes():
    x, labels = clusters(600, d=4, classes=40)
    labels //= 20
    difference = ((x[:, None] > 0) != (x[None] > 0)).sum(axis=(2, 3)).astype(np.float64)
    np.fill_diagonal(difference, np.inf)
    order = np.argsort(difference, axis=1, kind="stable")[:, :-1]
    codes = evaluation.pack(x)
    found = evaluation.scores(codes, labels, (1,), ranking=Ranking(ensemble="hamming")).means()
    assert found == pytest.approx(metrics_from(order, labels), rel=1e-12)


@pytest.mark.parametrize("dim", [8192, 9000])
def test_a_pair_is_equally_far_wherever_it_stands(dim):
    """To the last bit, or copies of a row would not rank by their number."""
    x = np.random.default_rng(0).normal(size=(2, 1, 20, dim)).astype(np.float32)
    x[:] = x[:, :, :1]
    difference = order.pairwise(x[0], x[1], 0, False)(np.arange(20), np.arange(20))
    assert len(set(difference)) == 1
    assert difference[0] == pytest.approx(((x[0] - x[1].astype(np.float64)) ** 2)[0, 0].sum())
