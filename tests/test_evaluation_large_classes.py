"""Metrics of classes with hundreds of images: exact, and without sorting what is far away."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import evaluation
from abe_jax.evaluation import LabelledGallery, Ranking, deep, frame, search, whole_rows
from abe_jax.evaluation.knn import ENSEMBLES, knn, prepare

N, CLASSES = 520, 4  # R = 129: deep enough, and a quarter of the rows


def clusters():
    """Vectors [n, m, d] of overlapping classes in mixed order, and their labels."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(N) % CLASSES)
    x = rng.normal(size=(CLASSES, 2, 6))[labels] + 1.5 * rng.normal(size=(N, 2, 6))
    return x, labels


def of_few(x):
    """Each vector four times: equal distances, which rank by row."""
    return np.repeat(x[: N // 4], 4, axis=0)


KINDS = {
    "as drawn": lambda x: x,
    "1e4 off": lambda x: x + 1e4,
    "four times each": of_few,
    "in whole numbers": np.rint,
    "all equal": lambda x: 0 * x + 0.3,
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(params=["host", "device", "device, in chunks"])
def place(request, monkeypatch):
    """Where float64 bounds the gallery."""
    if request.param != "host":
        monkeypatch.setattr(deep, "PLATFORMS", ("cpu",))
    if request.param == "device, in chunks":
        monkeypatch.setattr(search, "DISTANCES_AT_ONCE", 256 * 60)  # five; of knn's queries two
    return request.param


def distances(queries, gallery, rooted):
    """By their definition, in float64."""
    found = []
    for query in queries.astype(np.float64):
        squares = ((gallery.astype(np.float64) - query) ** 2).sum(axis=-1)
        found.append(np.sqrt(squares).mean(axis=1) if rooted else squares.sum(axis=1))
    return np.array(found)


def at_r(difference, right):
    """R-precision and average precision of each query, from distances (infinite: does not count)
    and what is right."""
    values = []
    for own, hits in zip(difference, right, strict=True):
        order = np.argsort(own, kind="stable")
        r = int(hits[np.isfinite(own)].sum())
        hits = hits[order[:r]]
        precision = np.cumsum(hits) / np.arange(1, r + 1)
        values.append((hits.mean(), (precision * hits).sum() / r))
    return np.array(values)


def by_row(scores):
    order = np.argsort(scores.rows)
    return np.stack([scores.r_precision, scores.average_precision], axis=1)[order]


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@kinds
def test_every_query_is_the_loops(kind, ensemble, place):
    x, labels = clusters()
    x = kind(x).astype(np.float32)
    difference = distances(x, x, ensemble == "mean_distance")
    np.fill_diagonal(difference, np.inf)
    expected = at_r(difference, labels[:, None] == labels[None])
    found = evaluation.scores(x, labels, (1,), ranking=Ranking(ensemble=ensemble))
    np.testing.assert_allclose(by_row(found), expected, rtol=1e-12)


@kinds
def test_queries_of_a_gallery_with_groups(kind, place):
    x, labels = clusters()
    x = kind(x).astype(np.float32)
    gallery, groups = np.arange(N) % 8 > 0, np.arange(N) % 5
    difference = distances(x[~gallery], x[gallery], rooted=False)
    difference[groups[~gallery][:, None] == groups[gallery][None]] = np.inf
    expected = at_r(difference, labels[~gallery][:, None] == labels[gallery][None])
    rows = LabelledGallery(x[gallery], labels[gallery], groups[gallery])
    own = groups[~gallery]
    found = evaluation.scores(x[~gallery], labels[~gallery], (1,), groups=own, gallery=rows)
    np.testing.assert_allclose(by_row(found), expected, rtol=1e-12)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@kinds
def test_long_lists_of_neighbours(kind, ensemble, place):
    x = kind(clusters()[0]).astype(np.float32)
    difference = distances(x[:50], x, ensemble == "mean_distance")
    order = np.argsort(difference, axis=1, kind="stable")[:, :400]
    found = knn(x[:50], x, 400, ranking=Ranking(ensemble=ensemble))
    np.testing.assert_array_equal(found[1], order)
    np.testing.assert_allclose(found[0], np.take_along_axis(difference, order, 1), rtol=1e-12)


@pytest.mark.parametrize("rooted", [False, True])
@pytest.mark.parametrize("dim", [1, 6, 512])
def test_a_devices_bounds_are_the_hosts_and_hold(dim, rooted):
    rng = np.random.default_rng(dim)
    m = 3 if rooted else 1
    queries, gallery = (rng.normal(size=(m, n, dim)).astype(np.float32) for n in (20, 300))
    gallery[:, 7] = queries[:, 3]
    difference = distances(np.swapaxes(queries, 0, 1), np.swapaxes(gallery, 0, 1), rooted)
    with jax.enable_x64(True):
        found = [
            np.asarray(bound)
            for bound in deep._bounds(jnp.asarray(queries), jnp.asarray(gallery), rooted)
        ]
    still = frame.Frame(None, 0, -1000)
    host = frame.bounds(still, queries.astype(np.float64), gallery.astype(np.float64), rooted)
    assert (found[0] <= difference).all() and (difference <= found[1]).all()
    for own, other in zip(found, host, strict=True):
        assert own.dtype == np.float64
        off = 4 * frame.share(dim, np.float64) * (dim + 8)
        # Of a row equal to the query the root of what is left of rounding is all there is.
        np.testing.assert_allclose(own, other, rtol=1e-12, atol=np.sqrt(off) if rooted else off)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_devices_chunks_bring_the_nearest_of_all_in_order(ensemble, monkeypatch):
    x, rows = clusters()[0].astype(np.float32), np.arange(0, N, 9)
    monkeypatch.setattr(search, "DISTANCES_AT_ONCE", 256 * 60)
    ranking = Ranking(ensemble=ensemble)
    made = prepare(x, x, exclude_self=True, groups=None, ranking=ranking)
    assert len(made.gallery) == 5 and made.exact_vectors is not None
    found = deep.candidates(made, rows, 140)
    expected = whole_rows.all_candidates(made, made.exact_vectors, rows, 140)
    np.testing.assert_array_equal(found.ids, expected.ids)
    for own, other in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10)


def test_what_is_far_is_not_sorted_unless_a_tie_asks_for_it():
    x, labels = clusters()
    asked = mock.Mock(wraps=whole_rows.all_candidates)
    with mock.patch.object(whole_rows, "all_candidates", asked):
        evaluation.r_precision(x, labels)
        few = N // CLASSES - 1 + whole_rows.EXTRA
        assert {call.args[3] for call in asked.call_args_list} == {few}
        evaluation.r_precision(np.full_like(x, 0.3), labels)
        assert asked.call_args.args[3] == N


def test_a_gpu_bounds_vectors_that_need_not_be_moved(monkeypatch):
    x, labels = clusters()
    asked = mock.Mock(wraps=deep.candidates)
    monkeypatch.setattr(deep, "candidates", asked)
    evaluation.r_precision(x, labels)
    assert not asked.called  # here is no GPU
    monkeypatch.setattr(deep, "PLATFORMS", ("cpu",))
    evaluation.r_precision(x + 1e4, labels)
    assert not asked.called
    evaluation.r_precision(x, labels)
    assert asked.call_count == -(-N // 256)


def test_a_gpu_bounds_long_lists_of_a_large_gallery_too(monkeypatch):
    x = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    expected = knn(x[:20], x, 250)
    asked = mock.Mock(wraps=deep.candidates)
    monkeypatch.setattr(deep, "candidates", asked)
    monkeypatch.setattr(deep, "PLATFORMS", ("cpu",))
    found = knn(x[:20], x, 250)
    assert asked.called
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
