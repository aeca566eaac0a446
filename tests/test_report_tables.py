"""The printed table and its parts, to the letter."""

import math

import pytest
import report_examples as examples

from abe_jax.report import tables

TABLE = """\
test · 11,904 images, 192 classes · step 1,800
                           R@1 %  R@2 %  R@4 %  R@8 %  R-prec  MAP@R
ensemble, concatenation     84.7   87.7   90.7   93.7   0.647  0.577
ensemble, mean distance     84.3   87.3   90.3   93.3   0.643  0.573
learner 1                   75.1   78.1   81.1   84.1   0.551  0.481
learner 2                   76.3   79.3   82.3   85.3   0.563  0.493
learner 3                   77.6   80.6   83.6   86.6   0.576  0.506
learner 4                   78.8   81.8   84.8   87.8   0.588  0.518
learners, mean              77.0   80.0   83.0   86.0   0.570  0.500
learners, std                1.4    1.4    1.4    1.4   0.014  0.014
raw pixels, no training     65.8   68.8   71.8   74.8   0.458  0.388
neighbours of the query's own family left out:
  ensemble, concatenation   80.1   83.1   86.1   89.1   0.601  0.531
  raw pixels, no training   48.2   51.2   54.2   57.2   0.282  0.212"""

BARE = """\
val
                         R@2 %  R@10 %
embedding                 91.3    99.0
raw pixels, no training      -    70.0"""


def test_table_of_an_ensemble():
    assert tables.evaluation_table(examples.result(), split="test") == TABLE


def test_one_learner_is_one_row_and_recalls_are_ordered_as_numbers():
    alone = {"recall@10": 0.99, "recall@2": 0.9126}
    result = {
        "metrics": {
            "ensemble": alone,
            "ensemble_mean_distance": alone,
            "learners": [alone],
            "learners_mean": alone,
            "learners_std": {"recall@2": 0.0, "recall@10": 0.0},
            "pixels": {"recall@2": math.nan, "recall@10": 0.7},
        }
    }
    assert tables.evaluation_table(result, split="val") == BARE


def test_nothing_measured_is_said():
    assert tables.evaluation_table({}, split="val") == "val\n(nothing was measured)"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_unmeasured_values_are_a_dash(value):
    assert tables.printed("map@r", value) == "-"


def test_error_ratio():
    assert tables.error_ratio(examples.result()) == pytest.approx(0.1533 / 0.3417)


@pytest.mark.parametrize("baseline", [{}, {"recall@1": 1.0}, {"recall@1": math.nan}])
def test_error_ratio_needs_errors_of_the_baseline(baseline):
    metrics = {"ensemble": {"recall@1": 0.8}, "pixels": baseline}
    assert tables.error_ratio({"metrics": metrics}) is None


def test_markdown_is_aligned_and_escaped():
    drawn = tables.markdown([["ABE-4 | full", 85.2], ["1-head", None]], ["model", "R@1 %"])
    assert drawn == (
        "| model         | R@1 % |\n"
        "|---------------|------:|\n"
        "| ABE-4 \\| full |  85.2 |\n"
        "| 1-head        |     - |"
    )


def test_markdown_refuses_a_ragged_row():
    with pytest.raises(ValueError, match="every row needs 2 cells"):
        tables.markdown([["one"]], ["a", "b"])
