"""Reading metrics.csv, whole, cut short or empty."""

import numpy as np
import pytest

from abe_jax.report import history


def test_columns_with_holes(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,val_map@r,never\n20,1.5,,\n40,nan,0.25,\n60,1.25,,\n")
    past = history.read(path)
    assert sorted(past) == ["loss", "step", "val_map@r"]
    steps, values = history.measured(past, "loss")
    np.testing.assert_array_equal(steps, [20, 60])
    np.testing.assert_array_equal(values, [1.5, 1.25])


def test_later_row_of_a_step_stays_and_a_cut_row_does_not(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n40,4\n20,2\n40,3\nsix\n,9\n60")
    past = history.read(path)
    np.testing.assert_array_equal(past["step"], [20, 40, 60])
    np.testing.assert_array_equal(past["loss"], [2, 3, np.nan])


@pytest.mark.parametrize("content", [None, "", "step,loss\n", "a,b\n1,2\n"])
def test_nothing_logged(tmp_path, content):
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_text(content)
    assert history.read(path) == {}
    assert len(history.measured({}, "loss")[0]) == 0


def test_thinned_keeps_the_mean_and_the_short():
    steps, values = np.arange(1000.0), np.arange(1000.0) ** 2
    few, means = history.thinned(steps, values, 100)
    assert len(few) == 100
    np.testing.assert_allclose(few[:2], [4.5, 14.5])
    np.testing.assert_allclose(means.mean(), values.mean())
    assert history.thinned(steps[:100], values[:100], 100)[0] is not None
    np.testing.assert_array_equal(history.thinned(steps[:100], values[:100], 100)[1], values[:100])


def test_smoothed_is_the_centred_mean():
    np.testing.assert_allclose(history.smoothed(np.array([3.0, 0, 6, 0]), 3), [1.5, 3, 2, 3])
