"""The printed table and its parts, to the letter."""

import math

import pytest
import report_examples as examples

from abe_jax.report import result_tables, tables

TABLE = """\
test · 11,904 images, 192 classes · step 1,800
                           MAP@R  R@1 %  R@2 %  R@4 %  R@8 %  R-prec
ensemble, concatenation    0.577   84.7   87.7   90.7   93.7   0.647
ensemble, mean distance    0.573   84.3   87.3   90.3   93.3   0.643
learner 1                  0.481   75.1   78.1   81.1   84.1   0.551
learner 2                  0.493   76.3   79.3   82.3   85.3   0.563
learner 3                  0.506   77.6   80.6   83.6   86.6   0.576
learner 4                  0.518   78.8   81.8   84.8   87.8   0.588
learners, mean             0.500   77.0   80.0   83.0   86.0   0.570
learners, std              0.014    1.4    1.4    1.4    1.4   0.014
raw pixels, no training    0.388   65.8   68.8   71.8   74.8   0.458
neighbours of the query's own family left out:
  ensemble, concatenation  0.531   80.1   83.1   86.1   89.1   0.601
  raw pixels, no training  0.212   48.2   51.2   54.2   57.2   0.282"""

BARE = """\
val
                         R@2 %  R@10 %
embedding                 91.3    99.0
raw pixels, no training      -    70.0"""


def test_table_of_an_ensemble():
    assert tables.evaluation_table(examples.result(), split="test") == TABLE


NEAR = """\
near-duplicates left out (a rule: 4,021 in 1,310 captures), 9,204 queries:
  ensemble, concatenation  0.231   50.1   53.1   56.1   59.1   0.301
  learners, mean           0.130   40.0   43.0   46.0   49.0   0.200
  raw pixels, no training      -      -      -      -      -       -
neighbours of the query's own family left out:"""


def test_what_is_left_without_near_duplicates_stands_beside_the_ordinary_numbers():
    def row(base: float) -> dict[str, float]:
        recalls = {f"recall@{k}": base + 0.03 * i for i, k in enumerate((1, 2, 4, 8))}
        return recalls | {"r_precision": base - 0.2, "map@r": base - 0.27}

    without = {"rule": "a rule", "groups": 1310, "images_in_groups": 4021, "queries": 9204}
    metrics = {"ensemble": row(0.501), "learners_mean": row(0.4), "pixels": {"map@r": None}}
    found = examples.result() | {"without_near_duplicates": without | {"metrics": metrics}}
    complete = tables.evaluation_table(found, split="test")
    assert NEAR in complete and complete.replace(NEAR.rpartition("\n")[0] + "\n", "") == TABLE
    page = result_tables.section({"test": found})
    assert "1,310 captures" in page and "<td>0.231</td>" in page and "own capture counts" in page
    assert "own capture counts" not in result_tables.section({"test": examples.result()})

    one = examples.result(1) | {"without_near_duplicates": without | {"queries": 0, "metrics": {}}}
    lines = tables.evaluation_table(one, split="test").splitlines()
    at = next(i for i, line in enumerate(lines) if ", 0 queries:" in line)
    assert lines[at + 1].split() == ["embedding", *"------"]
    assert lines[at + 2] == "neighbours of the query's own family left out:"


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
