"""Where the attention may be placed, and the sweep over it."""

import dataclasses
from pathlib import Path

import pytest
from processes import TINY, run

from abe_jax import config
from abe_jax.cli import sweep
from abe_jax.comparison import Table
from abe_jax.config import Model
from abe_jax.errors import UserError

MODEL = Model(backbone="convnet", kind="attention", learners=2, dim=8, branch="pool2", width=4)


def named(branches: list[str], depths: list[int]) -> list[str]:
    return [arm.name for arm in sweep.branch_arms(MODEL, branches, depths)]


def test_every_branch_with_no_half_and_the_whole_trunk() -> None:
    found = named([], [])
    assert found[:3] == ["conv1 0", "conv1 2", "conv1 5"]  # conv2 to conv6: poolings do not count
    assert found[-2:] == ["conv5 0", "conv5 1"]
    assert not any(name.startswith("conv6") for name in found)  # nothing would be left behind it


def test_depths_that_a_branch_has_no_stages_for_are_left_out() -> None:
    assert named(["pool2", "pool4"], [1, 3]) == ["pool2 1", "pool2 3", "pool4 1"]
    (arm,) = sweep.branch_arms(MODEL, ["pool4"], [2])
    assert arm.overrides == ("model.branch=pool4", "model.trunk_depth=2")


@pytest.mark.parametrize(
    ("change", "branches", "depths", "says"),
    [
        ({"kind": "heads"}, [], [], "no attention that branches off"),
        ({}, ["poo4"], [], "did you mean 'pool4'"),
        ({}, ["conv6"], [], "--branch"),
        ({}, ["pool4"], [7], "no branch has 7 stages"),
    ],
)
def test_places_that_there_are_not_are_refused(change, branches, depths, says) -> None:
    with pytest.raises(UserError, match=says):
        sweep.branch_arms(dataclasses.replace(MODEL, **change), branches, depths)


def test_the_best_is_the_highest_mean_and_said_as_overrides() -> None:
    arms = sweep.branch_arms(MODEL, ["pool2", "pool4"], [1])
    rows = [["pool2 1", "9.50 ± 0.10", "0.900 ± 0.001"], ["pool4 1", "10.25 ± 0.30", "0.100"]]
    table = Table(["arm", "R@1 %", "MAP@R"], rows)
    line = sweep.best(table, arms, "recall@1")
    assert line.endswith("--config.model.branch=pool4 --config.model.trunk_depth=1")
    assert "branch=pool2" in sweep.best(table, arms, "map@r")


@pytest.mark.slow
def test_a_sweep_trains_every_place_and_names_the_best(tmp_path: Path, tiny_data: Path) -> None:
    arguments = ["--config", TINY, "--workdir", tmp_path, "--branch", "pool2,pool4", "--depth", "0"]
    found = run("sweep", *arguments, data=tiny_data)
    assert found.returncode == 0, found.stderr
    rows = [line.split("|") for line in (tmp_path / "table.md").read_text().splitlines()[2:]]
    assert [row[1].strip() for row in rows] == ["pool2 0", "pool4 0"]
    assert int(rows[0][6].replace(",", "")) != int(rows[1][6].replace(",", ""))  # really two places
    last = found.stdout.strip().splitlines()[-1]
    highest = max(rows, key=lambda row: float(row[3]))[1].split()[0]  # by R@1, its metric
    assert last.startswith("best on validation classes: --config.model.branch=" + highest)
    made = config.read_json(tmp_path / "pool2 0 seed 0" / "config.json")
    assert made.model.branch == "pool2" and made.model.trunk_depth == 0
    assert "test" not in (tmp_path / "pool2 0 seed 0" / "evaluation.json").read_text()
