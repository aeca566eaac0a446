"""A folder that holds a run already: one training at a time, more steps, a finished run."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pytest
from processes import ROOT, TINY
from tiny_config import SMALLER

from abe_jax import config, files
from abe_jax.cli import evaluate, train
from abe_jax.config import build
from abe_jax.config.training import prepare_training
from abe_jax.data import Dataset
from abe_jax.data.sources.class_splits import share_for_validation
from abe_jax.errors import UserError
from abe_jax.hosts import Lost
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

CONSTANT = "optimizer.schedule=constant"


pytestmark = pytest.mark.usefixtures("as_a_user")


def trained(workdir: Path, *overrides: str) -> RunFolder:
    train.run(config.load(TINY, [*SMALLER, *overrides]), workdir)
    return RunFolder(workdir)


def refused(workdir: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        trained(workdir, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def content(workdir: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A finished run of 2 steps by the cosine schedule, which no test changes."""
    workdir = tmp_path_factory.mktemp("done") / "run"
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        patch.setenv("ABE_JAX_DATA", str(tiny_data))
        trained(workdir)
    return workdir


def test_a_second_training_of_the_same_folder_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.alone():
        before = content(folder.path)
        for overrides in ((), ("seed=1",), ("train.steps=9", CONSTANT)):
            says = refused(folder.path, *overrides)
            assert says.startswith(f"{folder.path}: another training runs here; wait until it ends")
        assert content(folder.path) == before


def test_a_running_training_can_be_evaluated(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder(done).alone():
        evaluate.main(["--workdir", str(done), "--split", "val"])
    assert "R@1" in capsys.readouterr().out


def test_a_killed_training_keeps_nobody_out(tmp_path: Path) -> None:
    holds = (
        "import sys, time; from pathlib import Path; from abe_jax import files\n"
        "with files.lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path / ".lock")], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another training"), RunFolder(tmp_path).alone():
            pass
        process.kill()
    with RunFolder(tmp_path).alone():
        assert (tmp_path / ".lock").exists()


def test_the_first_of_several_hosts_waits_for_the_training_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    line = "another training has run here for 1 s"
    with folder.alone(), pytest.raises(Lost, match=line), folder.alone(1.0):
        pass
    holds = (
        "import sys, time; from pathlib import Path; from abe_jax import files\n"
        "with files.lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(2)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path / ".lock")], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with folder.alone(60.0):
            assert process.poll() is not None or process.wait(10) == 0


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOLCK, ""), (errno.ENOSYS, ""), (errno.EACCES, "cannot be written")],
)
def test_a_file_system_without_locks_keeps_nobody_out(
    number: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "lock", none)
    if not says:
        with RunFolder(tmp_path).alone():
            return
    with pytest.raises(UserError, match=says), RunFolder(tmp_path).alone():
        pass


def test_a_best_checkpoint_replaced_while_it_is_read_is_no_damage(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training saves a better one, and deletes the old, behind the reader's listing."""
    shutil.copytree(done, tmp_path / "run")
    best, restore, moved = RunFolder(tmp_path / "run").best, Checkpoints.restore, []

    def meanwhile(self: Checkpoints, *given: Any) -> Any:
        if not moved:
            moved.append((best / "2").rename(best / "3"))
        return restore(self, *given)

    monkeypatch.setattr(Checkpoints, "restore", meanwhile)
    evaluate.main(["--workdir", str(tmp_path / "run"), "--split", "val"])
    assert moved


def left_behind(folder: RunFolder) -> dict[str, Any]:
    like = build.recipe(config.read_json(folder.config)).abstract()
    found: dict[str, Any] = {
        path.name: path.read_text() for path in (folder.config, folder.metrics, folder.evaluation)
    }
    for place in (folder.latest, folder.best):
        checkpoints = Checkpoints(place, 2)
        found[place.name] = checkpoints.restore(like)[1]
        checkpoints.close()
    return found


@pytest.mark.parametrize(
    "own",
    [
        (CONSTANT,),  # validated at the end only
        pytest.param(
            (CONSTANT, "train.log_every=3", "train.evaluate_every=2", "optimizer.warmup=3"),
            marks=pytest.mark.slow,
        ),
        pytest.param(  # the old end is no such step
            (CONSTANT, "train.log_every=2", "train.evaluate_every=3"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("optimizer.schedule=step", "optimizer.boundaries=(2,6)", "train.log_every=4"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["constant", "warmup", "odd end", "step"],
)
def test_a_finished_run_goes_on_for_more_steps_to_the_same_bits(
    own: tuple[str, ...], tmp_path: Path
) -> None:
    short = trained(tmp_path / "run", *own, "train.steps=4")
    numbers, page = short.evaluation.read_text(), short.report.read_text()
    trained(tmp_path / "run", *own, "train.steps=8")
    complete = trained(tmp_path / "whole", *own, "train.steps=8")
    assert left_behind(short) == left_behind(complete)
    assert json.loads(numbers)["test"]["step"] <= 4
    assert (short.path / "evaluation after 4 steps.json").read_text() == numbers
    assert (short.path / "report after 4 steps.html").read_text() == page


@pytest.mark.slow
def test_weights_evaluated_as_they_are_can_be_trained_further(tmp_path: Path) -> None:
    trained(tmp_path / "run", "train.steps=0")
    further, complete = (trained(tmp_path / name, "train.steps=3") for name in ("run", "whole"))
    assert left_behind(further) == left_behind(complete)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.steps=4"], "followed the schedule 'cosine' over 2, which differs from step 1 on"),
        (["train.steps=1"], "has taken 2 steps; give more than 2, keep config.train.steps=2, or"),
        (["train.steps=4", "seed=1"], r"another config \(config.seed: 0, 1; config.train.steps: 2"),
        (["train.steps=4", CONSTANT], "another config .*schedule: 'cosine', 'constant'"),
        (["train.steps=0"], "has taken 2 steps"),
    ],
)
def test_a_length_that_a_run_cannot_have_is_one_line_and_changes_nothing(
    overrides: list[str], says: str, done: Path
) -> None:
    before = content(done)
    line = refused(done, *overrides)
    assert re.search(says, line) and "name another --workdir" in line
    assert content(done) == before


def test_a_finished_run_says_so_and_looks_at_no_image(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("an image was looked at")

    monkeypatch.setattr(Dataset, "split", never)
    before = content(done)
    trained(done)
    said = capsys.readouterr().out
    assert "raw pixels" in said
    assert f"finished before, all 2 steps; look at {done / 'report.html'}" in said
    assert content(done) == before


@pytest.mark.parametrize("gone", ["report.html", "evaluation.json", "test", "step", "metrics"])
def test_a_finished_run_without_its_evaluation_is_evaluated(
    gone: str, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    found = json.loads(folder.evaluation.read_text())
    if gone == "test":
        folder.evaluation.write_text(json.dumps({"val": found["test"]}))
    elif gone == "step":  # of another checkpoint than the best
        folder.evaluation.write_text(json.dumps({"test": found["test"] | {"step": 1}}))
    elif gone == "metrics":  # as in a file that somebody edited
        folder.evaluation.write_text(json.dumps({"test": found["test"] | {"metrics": []}}))
    else:
        (folder.path / gone).unlink()
    trained(folder.path)
    assert "finished in" in capsys.readouterr().out
    assert json.loads(folder.evaluation.read_text())["test"] == found["test"]
    assert folder.report.exists()


def test_a_share_of_the_classes_validates() -> None:
    kept = {classes: share_for_validation(classes) for classes in (0, 1, 2, 9, 10, 49, 50, 100)}
    assert kept == {0: 0, 1: 0, 2: 1, 9: 1, 10: 2, 49: 9, 50: 10, 100: 10}
    assert [share_for_validation(classes) for classes in (101, 200, 547)] == [10, 20, 54]


def test_a_run_keeps_the_share_that_it_began_with(tmp_path: Path) -> None:
    for number in range(24):
        place = tmp_path / "images" / f"c{number}"
        place.mkdir(parents=True)
        for i in range(4):
            cv2.imwrite(str(place / f"{i}.png"), np.full((16, 16), 5 * number + i, np.uint8))
    own = ("data.name=folder", f"data.path={tmp_path / 'images'}", "train.batch=8", CONSTANT)

    def begun(name: str, *overrides: str) -> tuple[int, int]:
        """Prepares a training in a folder of a run; the classes that its config.json names."""
        folder = RunFolder(tmp_path / name)
        made = config.load(TINY, [*SMALLER, *own, "evaluate.ks=(1,)", *overrides])
        prepare_training(made, folder.path, print).close()
        folder.evaluation.touch()
        data = config.read_json(folder.config).data
        return data.validation_classes, data.classes

    assert begun("run") == (2, 10)  # of 12 that are not the test's
    assert begun("other", "data.validation_classes=4") == (4, 8)
    assert begun("other", "train.steps=3") == (4, 8)  # what is left open stays as it is there
    with pytest.raises(UserError, match="validation_classes: 2, 3"):
        begun("run", "data.validation_classes=3")


PRINTS = """
import sys
from abe_jax.cli import command
def main(argv):
    sys.stdin.readline()  # until nobody reads any more
    {}
command.run(main)
"""


@pytest.mark.parametrize(
    "body",
    [
        "[print(i) for i in range(100_000)]",
        "print('little, which stays in the buffer until the end')",
        "print('help'); sys.exit(0)",
        "command.say('at once')",
    ],
    ids=["much", "little", "help", "said"],
)
def test_a_command_that_nobody_reads_ends_in_silence(body: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS.format(body)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"test": 3}', "[" * 10**5, "\udcff", '{"test": {}, "val": []}']
)
def test_what_is_damaged_of_an_evaluation_counts_as_none(text: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.evaluations() == {}
    folder.evaluation.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert folder.evaluations() in ({}, {"test": {}})
