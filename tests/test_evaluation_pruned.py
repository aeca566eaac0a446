"""Neighbours after a cheap first pass are to the bit those without one, whatever it leaves open."""

import jax
import numpy as np
import pytest
from test_evaluation_order import MOVED, by_float64, clusters

from abe_jax import evaluation
from abe_jax.evaluation import coarse, frame, neighbours, order, pruned
from abe_jax.evaluation.chunks import Numbers
from abe_jax.evaluation.coarse import Side
from abe_jax.evaluation.knn import knn
from abe_jax.evaluation.options import Ranking

KINDS = (coarse.BFLOAT16, np.dtype(np.float32))
kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
moved = pytest.mark.parametrize("move", MOVED.values(), ids=MOVED)

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="a CPU's way")


def without(monkeypatch, *arguments, **options):
    with monkeypatch.context() as patch:
        patch.setattr(pruned, "WORTH", 2**60)
        return knn(*arguments, **options)


@pytest.fixture
def passes(monkeypatch):
    """Puts searches of any size through a first pass, in tiles of 256 rows, and counts blocks."""
    monkeypatch.setattr(pruned, "WORTH", 0)
    monkeypatch.setattr(pruned, "TILE", 256)
    answers, nearest = [], pruned.nearest

    def counted(*arguments):
        answer = nearest(*arguments)
        answers.append(answer)
        return answer

    monkeypatch.setattr(pruned, "nearest", counted)
    return answers


def same(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


def halfway(x):
    """Numbers that bfloat16 rounds by nearly half a step each, all towards 0."""
    bits = np.abs(x).astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000) | np.uint32(0x7FFF)).view(np.float32)


HARD = {  # where the bounds are nearly reached, or a device flushes what it multiplies
    "rounded by half a step": halfway,
    "parallel, rounded by half a step": lambda x: (
        halfway(x[:1]) * np.logspace(0, 1, len(x))[:, None, None]
    ),
    "too small to be normal, beside one that is not": lambda x: np.where(
        np.arange(len(x))[:, None, None] == 3, 1e-20 * x, 1e-40 * x
    ),
    "half of them 0": lambda x: x * (np.arange(len(x)) % 2)[:, None, None],
}
hard = pytest.mark.parametrize("move", (MOVED | HARD).values(), ids=MOVED | HARD)


@kinds
@hard
def test_bounds_hold_exact_distances(move, kind):
    x = move(clusters(200, d=32)[0]).astype(np.float32).reshape(1, 200, -1)
    fixed, both = frame.frame(x, x), np.divmod(np.arange(200 * 200), 200)
    exact = order.pairwise(x, x, fixed.power, False)(*both).reshape(200, 200)
    own = fixed.moved(x)
    rows = coarse.rounded(own[0], frame.lengths(own), kind)
    ids, nobody = np.arange(200, dtype=np.int32), np.full(200, -2, np.int32)
    none = np.zeros(200, np.int32)
    least, most = coarse.bounds(
        Side(rows, Numbers(nobody, none - 1)), Side(rows, Numbers(ids, none)), length=1
    )
    assert (np.asarray(least) <= exact).all() and (exact <= np.asarray(most)).all()


@kinds
@moved
def test_neighbours(move, kind, passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    x = move(clusters(600)[0]).astype(np.float32)
    found = knn(x, x, 20, exclude_self=True)
    assert passes
    same(found, without(monkeypatch, x, x, 20, exclude_self=True))
    np.testing.assert_array_equal(found[1], by_float64(x, x, exclude_self=True)[1][:, :20])


@kinds
@pytest.mark.parametrize("block", [7, 256, 1000])
def test_groups_blocks_and_queries_of_another_set(kind, block, passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    x = clusters(700, d=24)[0].astype(np.float32)
    x[100:130] = x[3]  # more copies than neighbours, in two tiles with the next line
    x[650:660] = x[3]
    x[200:210] = 0
    queries, gallery = x[:60], x[30:]
    groups = np.arange(60) % 5, np.where(np.arange(670) < 512, np.arange(670) // 128, 7)
    for own in (None, groups):
        options = {"groups": own, "ranking": Ranking(block=block)}
        expected = without(monkeypatch, queries, gallery, 9, **options)
        same(knn(queries, gallery, 9, **options), expected)
    assert passes and None not in passes


@kinds
def test_where_fewer_than_k_count_the_rest_is_empty(kind, passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    x = clusters(520)[0].astype(np.float32)
    groups = np.zeros(40, int), (np.arange(520) == 300) | (np.arange(520) == 11)
    distances, indices = knn(x[:40], x, 5, groups=(groups[0], groups[1].astype(int)))
    assert passes and None not in passes
    assert (np.sort(indices[:, :2]) == [11, 300]).all() and (indices[:, 2:] == -1).all()
    assert np.isinf(distances[:, 2:]).all() and np.isfinite(distances[:, :2]).all()


@kinds
def test_what_differs_by_the_last_bit_of_one_number_ranks_as_in_float64(kind, passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(600, 16)).astype(np.float32)
    x[300:] = x[:300]
    one, column = np.arange(300, 600), rng.integers(0, 16, 300)
    x[one, column] = np.nextafter(x[one, column], np.float32(np.inf))
    queries = x[:40] + rng.normal(size=(40, 16)).astype(np.float32) / 64
    found = knn(queries, x, 6)
    assert passes and None not in passes
    same(found, without(monkeypatch, queries, x, 6))
    np.testing.assert_array_equal(found[1], by_float64(queries[:, None], x[:, None])[1][:, :6])


@kinds
def test_rows_that_are_no_vectors_and_the_whole_gallery(kind, passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    x = clusters(400)[0].astype(np.float32)
    x[[0, 17, 399]] = np.nan
    for k in (8, 399, 400):
        same(knn(x, x, k), without(monkeypatch, x, x, k))
    assert passes


def test_where_all_are_alike_the_first_blocks_find_it_out(passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: coarse.BFLOAT16)
    x = np.full((2000, 8), 0.3, np.float32)
    x[::50, 2] += 1e-6
    ranking, tried, bounds = Ranking(block=64), [], coarse.bounds

    def counted(*arguments, **options):
        tried.append(1)
        return bounds(*arguments, **options)

    monkeypatch.setattr(coarse, "bounds", counted)
    found = knn(x, x, 5, exclude_self=True, ranking=ranking)
    assert set(passes) == {None} and len(passes) == 32 and 1 <= len(tried) <= 2
    same(found, without(monkeypatch, x, x, 5, exclude_self=True, ranking=ranking))


def test_few_rows_are_left_open(passes, monkeypatch):
    """So few that exact distances cost little beside the product of all pairs."""
    opened = []
    exact = neighbours.exact

    def counted(*arguments):
        distance = exact(*arguments)

        def of(asking, ids):
            opened.append(len(ids))
            return distance(asking, ids)

        return of

    monkeypatch.setattr(neighbours, "exact", counted)
    monkeypatch.setattr(coarse, "fastest_kind", lambda: coarse.BFLOAT16)
    x = np.random.default_rng(0).normal(size=(2048, 64)).astype(np.float32)
    knn(x[:256], x, 10)
    assert None not in passes and 10 * 256 <= sum(opened) <= 20 * 256


def test_a_small_search_has_no_first_pass(monkeypatch):
    monkeypatch.setattr(pruned, "nearest", None)
    x = clusters(300)[0].astype(np.float32)
    assert knn(x, x, 3)[1][:, 0].tolist() == list(range(300))


@kinds
@pytest.mark.parametrize("grouped", [False, True])
def test_metrics_are_those_without_it(kind, grouped, passes, monkeypatch):
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    monkeypatch.setattr(pruned, "TILE", 1024)
    x, labels = clusters(600, d=6, classes=150)
    labels[labels > 140] = 141  # larger classes, searched deeper
    x, groups = x.astype(np.float32), np.arange(600) % 5 if grouped else None
    options = {"groups": groups, "ranking": Ranking(block=64)}
    found = evaluation.scores(x, labels, (1, 4), **options)
    assert passes and None not in passes
    monkeypatch.setattr(pruned, "WORTH", 2**60)
    expected = evaluation.scores(x, labels, (1, 4), **options)
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)
    np.testing.assert_array_equal(found.r_precision, expected.r_precision)
    for k, hits in expected.recall.items():
        np.testing.assert_array_equal(found.recall[k], hits)
    assert (found.queries, found.means()) == (expected.queries, expected.means())
