"""The comparison of arms: what the command line names, and the figures of a row."""

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, TINY, command, environment, python, run

from abe_jax import config
from abe_jax.cli import compare, ending
from abe_jax.comparison import columns
from abe_jax.config import build
from abe_jax.errors import UserError


def test_arms_are_multiplied_by_every_varied_value() -> None:
    found = compare.arms(["a: x.y=1", "b:"], ["objective.divergence.weight=0,1", "seed=7"])
    assert [arm.name for arm in found] == [
        "a weight=0 seed=7",
        "a weight=1 seed=7",
        "b weight=0 seed=7",
        "b weight=1 seed=7",
    ]
    assert found[1].overrides == ("x.y=1", "objective.divergence.weight=1", "seed=7")


def test_an_arm_may_have_a_config_of_its_own() -> None:
    own, other = compare.arms(["a: configs/quickstart.py seed=1", "b: seed=2"], ["train.batch=8"])
    assert own.file == Path("configs/quickstart.py")
    assert own.overrides == ("seed=1", "train.batch=8")
    assert other.file is None


def test_without_arms_the_varied_values_are_the_arms() -> None:
    assert [arm.name for arm in compare.arms([], ["train.batch=8,16"])] == ["batch=8", "batch=16"]


@pytest.mark.parametrize(
    ("named", "varied", "says"),
    [
        (["a:", "a: x=1"], [], "names of their own"),
        ([": x=1"], [], "names of their own"),
        ([], ["train.batch"], "--vary NAME=VALUE"),
        ([], [], "names of their own"),
    ],
)
def test_arms_that_cannot_be_told_apart_are_refused(
    named: list[str], varied: list[str], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        compare.arms(named, varied)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--arm", "one: data.policy=foo"], "config.data.policy: nothing is called 'foo'"),
        (["--arm", "one: data.crop_scale=(0.5,)"], "config.data.crop_scale: "),
        (["--arm", "one:", "--seeds", "0"], "--seeds 0: 1 or more"),
        (["--arm", "one:", "--rounds", "-1"], "--rounds -1: 0"),
    ],
)
def test_what_could_not_be_trained_or_timed_is_refused_first(
    asked: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        compare.main(["--config", str(TINY), "--workdir", str(tmp_path / "runs"), *asked])
    assert not (tmp_path / "runs").exists()


def test_spread_is_the_sample_standard_deviation() -> None:
    assert columns.spread([1.0, 2.0, 4.0], 2) == "2.33 ± 1.53"
    assert columns.spread([2.0], 1) == "2.0"


def evaluation(value: float) -> dict:
    return {
        "metrics": {
            "ensemble": {"recall@1": value, "map@r": value / 2},
            "learners_mean": {"recall@1": value - 0.1},
        },
        "cosine": {"same_image": {"mean": value / 10}},
    }


def test_a_row_holds_means_of_the_ensemble_and_counts_of_the_model() -> None:
    found = [evaluation(0.8), evaluation(0.9)]
    shown = columns.header([found])
    row = columns.row("name", build.recipe(config.load(TINY)), found, shown)
    assert row[:5] == ["name", "0.425 ± 0.035", "85.00 ± 7.07", "75.00 ± 7.07", "0.085 ± 0.007"]
    assert [column.title for column in shown][-1] == "cosine of learners"


def test_a_figure_that_only_some_arms_have_is_a_dash_for_the_others() -> None:
    ensemble, single = evaluation(0.8), evaluation(0.9)
    del single["cosine"]
    ensemble["metrics"]["binary"] = {"recall@1": 0.75}
    shown = columns.header([[ensemble], [single]])
    assert [column.title for column in shown][-2:] == ["cosine of learners", "binary R@1 %"]
    assert columns.row("both", build.recipe(config.load(TINY)), [ensemble], shown)[4:6] == [
        "0.080",
        "75.00",
    ]
    assert columns.row("one", build.recipe(config.load(TINY)), [single], shown)[4:6] == ["-", "-"]
    assert len(columns.header([[single]])) == 3


def test_a_cell_says_of_how_many_seeds_it_is_where_some_lack_the_figure() -> None:
    found = [evaluation(value) for value in (0.8, 0.9, 0.7)]
    del found[2]["cosine"]
    row = columns.row("one", build.recipe(config.load(TINY)), found, columns.header([found]))
    assert row[4] == "0.085 ± 0.007 (2 of 3)" and "of" not in row[1]


def test_the_mean_over_domains_has_a_column_where_it_was_measured() -> None:
    found = evaluation(0.8) | {"domains": {"mean": {"ensemble": {"recall@1": 0.625}}}}
    shown = columns.header([[found]])
    place = [column.title for column in shown].index("R@1 % within a domain")
    assert columns.row("one", build.recipe(config.load(TINY)), [found], shown)[1 + place] == "62.50"


def test_what_is_left_without_near_duplicates_follows_the_ordinary_numbers() -> None:
    found = evaluation(0.8)
    found["without_near_duplicates"] = {"metrics": {"ensemble": {"recall@1": 0.5, "map@r": 0.25}}}
    nothing = evaluation(0.9) | {"without_near_duplicates": {"queries": 0, "metrics": {}}}
    shown = columns.header([[found], [nothing]])
    assert [column.title for column in shown][:4] == [
        "MAP@R",
        "R@1 %",
        "MAP@R without near-duplicates",
        "R@1 % without near-duplicates",
    ]
    recipe = build.recipe(config.load(TINY))
    assert columns.row("one", recipe, [found], shown)[1:5] == ["0.400", "80.00", "0.250", "50.00"]
    assert columns.row("other", recipe, [nothing], shown)[3:5] == ["-", "-"]


@pytest.mark.slow
def test_a_comparison_writes_its_table_and_goes_on_from_what_is_there(
    tmp_path: Path, tiny_data: Path
) -> None:
    arguments = ["--config", TINY, "--workdir", tmp_path, "--seeds", 2, "--rounds", 2]
    other = tmp_path / "other.py"
    other.write_text(TINY.read_text().replace('"width": 8', '"width": 4'))
    arguments += ["--arm", "single: model.kind=single model.learners=1", "--arm", "ABE:"]
    arguments += ["--arm", f"narrow: {other}"]
    first = run("compare", *arguments, data=tiny_data)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "table.md").read_text()
    assert table in first.stdout + "\n"
    rows = [line.split("|") for line in table.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == ["single", "ABE", "narrow"]
    assert len({row[6] for row in rows}) == 3  # parameters: the third is its own file's
    assert all("±" in row[2] for row in rows)
    again = run("compare", *arguments, data=tiny_data)
    assert "step " not in again.stdout.split("|")[0]
    assert [line.split("|")[1:7] for line in again.stdout.splitlines() if "±" in line] == [
        line.split("|")[1:7] for line in first.stdout.splitlines() if "±" in line
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [["compare", "--arm", "ABE: train.steps=9999"], ["sweep", "--config.train.steps=9999"]],
    ids=lambda asked: asked[0],
)
def test_asked_to_stop_it_ends_with_the_status_of_a_training_that_saved(
    asked: list[str], tmp_path: Path, tiny_data: Path
) -> None:
    verb, *rest = asked
    arguments = ["--config", TINY, "--workdir", tmp_path, "--seeds", 1, *rest]
    with subprocess.Popen(
        command(verb, *arguments),
        cwd=ROOT,
        env=environment(tiny_data),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "3/9999" in line:
                process.send_signal(signal.SIGTERM)
                break
        said = process.stdout.read()
    assert process.returncode == ending.GO_ON
    assert "asked to stop" in said
    assert not (tmp_path / "table.md").exists()


@pytest.mark.slow
def test_each_arm_is_tuned_on_the_validation_classes(tmp_path: Path, tiny_data: Path) -> None:
    arguments = ["--config", TINY, "--workdir", tmp_path, "--seeds", 1, "--rounds", 0]
    arguments += ["--split", "test", "--arm", "ABE:", "--tune", "optimizer.rate=0,1e30,0.003"]
    found = run("compare", *arguments, data=tiny_data)
    assert found.returncode == 0, found.stderr
    (row,) = [line.split("|") for line in (tmp_path / "table.md").read_text().splitlines()[2:]]
    assert row[1].strip() == "ABE 0.003"  # at a rate of 0 nothing is learned
    assert "1e30: -inf" in found.stdout
    evaluations = sorted(path.parent.name for path in tmp_path.glob("*/evaluation.json"))
    assert evaluations == ["ABE 0.003 seed 0"]  # the other was measured on validation classes alone


# A comparison in a process of its own, which says before each run how much it has mapped.
COUNTED = """
import dataclasses, pathlib, sys
from abe_jax import comparison
from abe_jax.cli import compare, comparison_arguments
from abe_jax.training.stop import on_sigterm

def say(line):
    if line.startswith("---"):
        print(len(pathlib.Path("/proc/self/maps").read_text().splitlines()))

arguments, overrides = compare.parser().parse(sys.argv[1:])
with on_sigterm() as stop:
    of = comparison_arguments.comparison_of(arguments, overrides, stop)
    of = dataclasses.replace(of, say=say)
    comparison.evaluations(of, compare.arms(arguments.arm, [])[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux alone tells what is mapped")
def test_a_run_that_is_over_leaves_no_programs_behind(tmp_path: Path, tiny_data: Path) -> None:
    asked = ["--config", TINY, "--workdir", tmp_path, "--seeds", 4, "--rounds", 0, "--arm", "ABE:"]
    found = python("-c", COUNTED, *asked, data=tiny_data)
    assert found.returncode == 0, found.stderr
    mapped = [int(line) for line in found.stdout.split() if line.isdigit()]
    first, *others = np.diff(mapped)
    assert len(others) == 2 and max(others) < first / 4, mapped
