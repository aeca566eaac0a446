"""A run killed at any point and started again equals one that never stopped, to the bit."""

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import inshop_data
import pytest
from processes import ROOT, TINY, command, environment, run

from abe_jax import config
from abe_jax.cli import ending
from abe_jax.config import build
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

FILES = ("config.json", "metrics.csv", "evaluation.json", "report.html")


# Losses with parameters; one draws classes anew in each step, one draws negatives.
TERMS = [
    {"name": "margin", "beta": 0.9, "rate": 5.0},
    {"name": "norm_softmax", "subsample": 12, "rate": 10.0},
    {"name": "cross_entropy", "smoothing": 0.1},
    {"name": "divergence"},
]


def start(workdir: Path, data: Path, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("train", "--config", TINY, "--workdir", workdir, *overrides),
        cwd=ROOT,
        env=environment(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout)


def finish(workdir: Path, data: Path, *overrides: str) -> str:
    done = run("train", "--config", TINY, "--workdir", workdir, *overrides, data=data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_behind(workdir: Path) -> dict[str, object]:
    """All that must be equal: files to the byte but for the folder's own name, and digests."""
    folder = RunFolder(workdir)
    found: dict[str, object] = {
        name: (workdir / name).read_text().replace(str(workdir), "RUN") for name in FILES
    }
    like = build.recipe(config.read_json(folder.config)).abstract()
    for name, path, keep in (("latest", folder.latest, 2), ("best", folder.best, 1)):
        checkpoints = Checkpoints(path, keep)
        found[name] = checkpoints.restore(like)[1]
        checkpoints.close()
    return found


@pytest.fixture(scope="module")
def never_stopped(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: Path
) -> tuple[Path, dict[str, object], str]:
    workdir = tmp_path_factory.mktemp("whole") / "run"
    said = finish(workdir, tiny_data)
    return workdir, left_behind(workdir), said


def kill_at(workdir: Path, data: Path, reached: Callable[[str], bool], *overrides: str) -> None:
    with start(workdir, data, *overrides) as process:
        for line in lines(process):
            if reached(line):
                break
        else:
            pytest.fail("the run ended before it was killed")
        process.kill()


@pytest.mark.parametrize("printed", ["compiling", "step  3/", "step  5/", "step 12/", "step 16/"])
def test_killed_and_resumed_equals_never_stopped(
    printed: str,
    never_stopped: tuple[Path, dict[str, object], str],
    tmp_path: Path,
    tiny_data: Path,
) -> None:
    kill_at(tmp_path / "run", tiny_data, lambda line: printed in line)
    finish(tmp_path / "run", tiny_data)
    assert left_behind(tmp_path / "run") == never_stopped[1]


def test_killed_twice_and_resumed_equals_never_stopped(
    never_stopped: tuple[Path, dict[str, object], str], tmp_path: Path, tiny_data: Path
) -> None:
    kill_at(tmp_path / "run", tiny_data, lambda line: "step  6/" in line)
    kill_at(tmp_path / "run", tiny_data, lambda line: "step 10/" in line)
    assert "going on from step" in finish(tmp_path / "run", tiny_data)
    assert left_behind(tmp_path / "run") == never_stopped[1]


def goes_on_alike(folder: Path, data: Path, *overrides: str) -> None:
    """Trains `whole` without a stop and kills `run` at step 9, which then ends with the same.

    The checkpoint of step 4 is whole then, however slow the disk: that of step 8 has waited for it.
    """
    finish(folder / "whole", data, *overrides)
    kill_at(folder / "run", data, lambda line: "step  9/" in line, *overrides)
    assert "going on from step" in finish(folder / "run", data, *overrides)
    complete, resumed = (left_behind(folder / name) for name in ("whole", "run"))
    assert resumed == complete


def test_parameters_of_losses_go_on_as_if_never_stopped(tmp_path: Path, tiny_data: Path) -> None:
    # What the kill leaves is of the first stage, in which these parameters learn with new layers.
    stages = ("--config.optimizer.new_only=9", "--config.optimizer.new_restart=True")
    own = (f"--config.objective={TERMS}", *stages)
    goes_on_alike(tmp_path, tiny_data, *own)
    made = config.read_json(RunFolder(tmp_path / "run").config)
    assert made.data.classes > 0
    learned = build.recipe(made).abstract().params["objective"]
    assert set(learned) == {"margin", "norm_softmax", "cross_entropy"}


BOOSTING = (
    f"--config.objective={[{'name': 'boosted'}, {'name': 'adversarial', 'hidden': 16}]}",
    "--config.model.kind=divided",
    "--config.model.learners=3",
    "--config.model.dims=(4,5,7)",
    "--config.model.test_weights=(4,5,7)",
    "--config.optimizer.new_rate=10",
)


def test_boosting_against_regressors_goes_on_as_if_never_stopped(
    tmp_path: Path, tiny_data: Path
) -> None:
    goes_on_alike(tmp_path, tiny_data, *BOOSTING)
    made = config.read_json(RunFolder(tmp_path / "run").config)
    regressors = build.recipe(made).abstract().params["objective"]["adversarial"]
    assert len(regressors) == 4 * 3  # two layers for each pair of learners


TWO_LEVELS = (
    "--config.model.norm=bin",
    "--config.data.sampler=domains",
    "--config.data.domains_per_batch=4",
    "--config.meta.domains=2",
    "--config.meta.start=1",
    "--config.optimizer.new_only=3",  # gates are no new layer
    "--config.meta.cycle=5",
    "--config.meta.inner_rate=30.0",
    "--config.meta.outer_rate=10.0",
    "--config.model.neck=batch",
    "--config.meta.reads=unit_before_neck",
)


def test_a_training_of_two_levels_goes_on_as_if_never_stopped(
    tmp_path: Path, tiny_data: Path
) -> None:
    goes_on_alike(tmp_path, tiny_data, *TWO_LEVELS)
    with RunFolder(tmp_path / "run").metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    gates = [float(row["gate"]) for row in rows if row["gate"]]
    assert gates[0] == 1 and gates[-1] < 1  # no episode in the first stage
    assert all(float(row["meta_test_triplet"]) > 0 for row in rows if row["gate"])


CASCADE = (
    "--config.model.kind=cascade",
    "--config.model.learners=3",
    "--config.model.dim=18",
    "--config.model.side_width=32",
    "--config.model.side_hidden=64",
    f"--config.objective={[{'name': 'hard_share'}]}",
    "--config.data.sampler=super_classes",
    "--config.data.domains_per_batch=2",
    "--config.data.classes_per_domain=4",
)


def test_dropout_goes_on_as_if_never_stopped(tmp_path: Path, tiny_data: Path) -> None:
    goes_on_alike(tmp_path, tiny_data, *CASCADE)
    none = ("--config.model.side_dropout=0.0", "--config.model.last_dropout=0.0")
    finish(tmp_path / "none", tiny_data, *CASCADE, *none)
    complete = left_behind(tmp_path / "whole")
    assert left_behind(tmp_path / "none")["metrics.csv"] != complete["metrics.csv"]
    sides = config.read_json(RunFolder(tmp_path / "run").config).model.side_stages
    assert sides == (
        "conv3",
        "conv4",
    )  # evenly behind pool2, as it stands in the config from then on


def test_alternating_stages_go_on_as_if_never_stopped(tmp_path: Path, tiny_data: Path) -> None:
    inshop_data.prepare(tiny_data)
    options = (*inshop_data.SMALL, f"objective={list(inshop_data.TERMS)}")
    options += (f"stages={inshop_data.stages(2, 3)}",)
    own = tuple(f"--config.{option}" for option in options)
    finish(tmp_path / "whole", tiny_data, *own)
    # Saved at step 4 or 8, both in the middle of a second stage, in which the pose branch is fixed.
    kill_at(tmp_path / "run", tiny_data, lambda line: "step  9/" in line, *own)
    assert "going on from step" in finish(tmp_path / "run", tiny_data, *own)
    complete, resumed = (left_behind(tmp_path / name) for name in ("whole", "run"))
    assert resumed == complete
    made = config.read_json(RunFolder(tmp_path / "run").config)
    assert len(made.data.attribute_shares) == 4 and max(made.data.attribute_shares) > 0


def unfinished(folder: Path) -> bool:
    """Whether a checkpoint is being written: begun, and not yet marked as whole."""
    begun = [path for path in folder.glob("*") if path.is_dir()]
    return any(not (path / "commit_success.txt").exists() for path in begun)


def test_killed_while_a_checkpoint_is_written(
    never_stopped: tuple[Path, dict[str, object], str], tmp_path: Path, tiny_data: Path
) -> None:
    for attempt in range(10):  # the write takes milliseconds: a kill can come too late
        workdir = tmp_path / f"run{attempt}"
        latest = RunFolder(workdir).latest
        with start(workdir, tiny_data) as process:
            while process.poll() is None and not unfinished(latest):
                time.sleep(0.0002)
            process.kill()
        if unfinished(latest):
            break
    else:
        pytest.fail("no kill came in the middle of a write")
    finish(workdir, tiny_data)
    assert left_behind(workdir) == never_stopped[1]


@pytest.mark.parametrize("asks", [signal.SIGTERM, signal.SIGUSR1], ids=lambda s: s.name)
def test_asked_to_stop_it_saves_the_step_and_says_so_by_its_status(
    asks: signal.Signals,
    never_stopped: tuple[Path, dict[str, object], str],
    tmp_path: Path,
    tiny_data: Path,
) -> None:
    with start(tmp_path / "run", tiny_data) as process:
        for line in lines(process):
            if "step  3/" in line:
                process.send_signal(asks)
                break
        said = "".join(lines(process))
    assert process.returncode == ending.GO_ON
    assert "is saved" in said
    saved = Checkpoints(RunFolder(tmp_path / "run").latest, 2)
    stopped_at = saved.steps()[-1]
    saved.close()
    assert f"step {stopped_at} is saved" in said
    assert not (tmp_path / "run" / "evaluation.json").exists()
    assert f"going on from step {stopped_at}" in finish(tmp_path / "run", tiny_data)
    assert left_behind(tmp_path / "run") == never_stopped[1]


def test_asked_to_stop_in_the_evaluation_it_ends_finished(
    never_stopped: tuple[Path, dict[str, object], str], tmp_path: Path, tiny_data: Path
) -> None:
    with start(tmp_path / "run", tiny_data) as process:
        for line in lines(process):
            if "step 16/16" in line:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGUSR1)
                break
        said = "".join(lines(process))
    assert process.returncode == 0
    assert "asked to stop" not in said
    assert left_behind(tmp_path / "run") == never_stopped[1]


def table(said: str) -> list[str]:
    """The lines of the evaluation's table."""
    found = said.splitlines()
    first = next(i for i, line in enumerate(found) if "R@1" in line) - 1
    return [line for line in found[first:] if not line.startswith("finished")]


def test_evaluate_prints_what_training_printed(
    never_stopped: tuple[Path, dict[str, object], str], tiny_data: Path
) -> None:
    workdir, _, said = never_stopped
    before = (workdir / "evaluation.json").read_text()
    again = run("evaluate", "--workdir", workdir, data=tiny_data)
    assert again.returncode == 0, again.stderr
    assert len(table(said)) > 5
    assert table(again.stdout) == table(said)
    assert (workdir / "evaluation.json").read_text() == before


def test_evaluate_on_validation_classes_is_what_selection_saw(
    never_stopped: tuple[Path, dict[str, object], str], tiny_data: Path
) -> None:
    workdir = never_stopped[0]
    done = run("evaluate", "--workdir", workdir, "--split", "val", data=tiny_data)
    assert done.returncode == 0, done.stderr
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    best = Checkpoints(RunFolder(workdir).best, 1)
    about = best.about(best.steps()[-1])
    best.close()
    assert evaluation["val"]["metrics"]["ensemble"]["recall@1"] == about["value"]
    assert evaluation["val"]["step"] == about["step"]
    assert set(evaluation) == {"val", "test"}
