"""What float32 gives is never more than the exact distance, and proves most orders."""

import jax.numpy as jnp
import numpy as np
import pytest
from test_evaluation_order import MOVED, by_float64, clusters

from abe_jax.evaluation import frame, neighbours, order
from abe_jax.evaluation.knn import knn
from abe_jax.evaluation.options import Ranking


@pytest.mark.parametrize("rooted", [False, True])
@pytest.mark.parametrize("move", MOVED.values(), ids=MOVED)
def test_bounds_hold_exact_distances(move, rooted):
    x = move(clusters(200, d=32)[0]).astype(np.float32)
    x = x.transpose(1, 0, 2) if rooted else x.reshape(1, 200, -1)
    fixed, both = frame.frame(x, x), np.divmod(np.arange(200 * 200), 200)
    exact = order.pairwise(x, x, fixed.power, rooted)(*both).reshape(200, 200)
    moved = jnp.asarray(fixed.moved(x))
    least = np.asarray((frame.least_mean if rooted else frame.least_squared)(moved, moved))
    assert (least <= exact).all()
    wide = fixed.wide(x)
    both = frame.bounds(fixed, wide, wide, rooted)
    assert (both.least <= exact).all() and (exact <= both.most).all()


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e19])
@pytest.mark.parametrize("ensemble", ["concatenation", "mean_distance"])
def test_a_common_offset_and_a_size_leave_the_fast_way_fast(monkeypatch, ensemble, offset, scale):
    """No query is compared with every row on the host, and the order is float64's."""
    x = (scale * (clusters(300, d=64)[0] + offset)).astype(np.float32)
    compared, found_again = [], neighbours._found_again

    def counted(search, exact_vectors, rows, *others):
        compared.extend(rows)
        return found_again(search, exact_vectors, rows, *others)

    monkeypatch.setattr(neighbours, "_found_again", counted)
    _, found = knn(x, x, 10, exclude_self=True, ranking=Ranking(ensemble=ensemble))
    _, expected = by_float64(x, x, rooted=ensemble == "mean_distance", exclude_self=True)
    assert not compared
    np.testing.assert_array_equal(found, expected[:, :10])


def test_collapsed_embeddings_are_compared_without_differences(monkeypatch):
    """Where all tie, every row is open: the products alone, which are exact, must decide."""
    x = MOVED["a few steps of float32 apart"](clusters(300, d=64)[0]).astype(np.float32)
    asked, pairwise = [], order.pairwise

    def counted(*arguments):
        distance = pairwise(*arguments)

        def of(asking, ids):
            asked.append(len(asking))
            return distance(asking, ids)

        return of

    monkeypatch.setattr(order, "pairwise", counted)
    knn(x, x, 10, exclude_self=True)
    assert sum(asked) <= 300 * 16
