"""What a training writes down and says: metrics.csv, progress lines, warnings."""

import csv
import threading
import time
from pathlib import Path

import pytest
from jaxlib import utils  # pyright: ignore[reportAttributeAccessIssue]

from abe_jax import config
from abe_jax.config import build
from abe_jax.training import collapse, progress, recorder
from abe_jax.training.length import Train
from abe_jax.training.progress import Progress, duration
from abe_jax.training.recipe import Recipe
from abe_jax.training.recorder import Recorder
from abe_jax.training.run_folder import RunFolder

COLUMNS = ("loss", "val_recall@1")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def table(folder: RunFolder) -> list[list[str]]:
    with folder.metrics.open(newline="") as file:
        return list(csv.reader(file))


def record(folder: RunFolder, after: int, steps: range) -> None:
    train = Train(steps=8, log_every=1, evaluate_every=2)
    course = Recorder(folder, COLUMNS, train, after=after)
    for step in steps:
        values = {"loss": 1 / 3 + step} | ({"val_recall@1": step / 10} if step % 2 == 0 else {})
        course.row(step, values, rate=5.0)
    course.close()


def test_rows_are_exact_and_cells_not_measured_are_empty(folder: RunFolder) -> None:
    record(folder, 0, range(1, 3))
    assert table(folder) == [
        ["step", *COLUMNS],
        ["1", repr(1 / 3 + 1), ""],
        ["2", repr(1 / 3 + 2), "0.2"],
    ]


def test_a_value_that_is_no_number_is_left_out(folder: RunFolder) -> None:
    course = Recorder(folder, COLUMNS, Train(steps=1), after=0)
    course.row(1, {"loss": 2.0, "val_recall@1": float("nan")}, rate=1.0)
    course.close()
    assert table(folder)[1] == ["1", "2.0", ""]


def test_a_resumed_course_equals_one_that_never_stopped(tmp_path: Path) -> None:
    complete, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    for folder in (complete, stopped):
        folder.path.mkdir()
    record(complete, 0, range(1, 9))
    record(stopped, 0, range(1, 8))
    record(stopped, 4, range(5, 9))
    assert stopped.metrics.read_bytes() == complete.metrics.read_bytes()


@pytest.mark.parametrize("cut", [1, 3, 9, 19])
def test_a_row_cut_short_by_a_kill_is_dropped(cut: int, folder: RunFolder) -> None:
    record(folder, 0, range(1, 5))
    complete = folder.metrics.read_bytes()
    record(folder, 4, range(5, 6))
    longer = folder.metrics.read_bytes()
    folder.metrics.write_bytes(longer[: len(complete) + cut])
    record(folder, 4, range(5, 6))
    assert folder.metrics.read_bytes() == longer


def test_of_several_hosts_the_first_alone_writes(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.hosts, "is_first", lambda: False)
    record(folder, 0, range(1, 3))
    assert list(folder.path.iterdir()) == []


def test_the_rate_counts_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    shown = Progress(steps=50, batch=8)
    for _ in range(10):
        shown.count()
    now += 7.0
    shown.pause(5.0)
    assert shown.rate() == pytest.approx(40.0)  # 80 images in 2 seconds
    now += 4.0
    shown.count()
    assert shown.rate() == pytest.approx(2.0)
    line = shown.line(10, {"loss": 0.5, "gradient_norm": 3.0, "positive_distance": 1.0}, 40.0)
    assert line == "step 10/50  40 images/s  loss 0.5000  8s left"


def test_a_compilation_says_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said, heard = 100.0, list[str](), threading.Event()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    monkeypatch.setattr(progress, "EVERY", 0.01)

    def say(line: str) -> None:
        said.append(line)
        if line == "compiling, 90 s so far":
            heard.set()

    with progress.compiling(say):
        now += 90.0
        assert heard.wait(10), said
    count = len(said)
    time.sleep(0.05)
    assert len(said) == count  # the end is the end


@pytest.mark.parametrize(
    ("passed", "environment", "levels"),
    [
        (89.0, "1", []),  # nothing of a shorter one is hidden
        (91.0, "1", [3, 1]),  # the alarm would come before the next line
        (400.0, "0", [3, 0]),
        (400.0, "2", [3, 2]),
        (400.0, "?", [3, 1]),
    ],
)
def test_the_compilers_alarm_is_not_heard_beside_our_line(
    passed: float, environment: str, levels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, said, set_, heard = 100.0, list[str](), list[int](), threading.Event()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    monkeypatch.setattr(progress, "XLA_ALARM", progress.XLA_ALARM - progress.EVERY)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    monkeypatch.setattr(utils, "absl_set_min_log_level", set_.append)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", environment)

    def say(line: str) -> None:
        said.append(line)
        if said.count(f"compiling, {passed:.0f} s so far") == 2:  # once more, behind what follows
            heard.set()

    with pytest.raises(ZeroDivisionError), progress.compiling(say):
        now += passed
        assert heard.wait(10), said
        raise ZeroDivisionError
    assert set_ == levels


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599.7, "1h00m"), (7500, "2h05m")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def recipe(*overrides: str) -> Recipe:
    return build.recipe(config.load(Path(__file__).with_name("tiny_config.py"), overrides))


@pytest.fixture
def ensemble() -> Recipe:
    return recipe("objective.0.margin=0.5")


def test_collapse_and_a_loss_at_the_margin_are_warned_of_with_their_figures(
    ensemble: Recipe,
) -> None:
    sound = {"cosine": 0.9, "negative_distance": 0.3, "contrastive": 0.2}
    assert collapse.warnings(ensemble, sound) == []
    (line,) = collapse.warnings(ensemble, sound | {"cosine": 0.962})
    assert "0.962" in line
    assert "divergence" in line
    (stuck,) = collapse.warnings(ensemble, sound | {"negative_distance": 0.009})
    assert "0.0090 apart where 0.5 is asked (contrastive 0.2000)" in stuck
    assert collapse.warnings(ensemble, sound | {"negative_distance": 0.011}) == []  # 2% is 0.01
    assert collapse.warnings(ensemble, {}) == []


def test_any_loss_is_warned_of_when_all_images_become_one_point() -> None:
    made = recipe("objective=[{'name':'triplet'}]")
    assert collapse.warnings(made, {"negative_distance": 0.003}) == []
    (line,) = collapse.warnings(made, {"negative_distance": 0.0004})
    assert "the embedding collapses: negative pairs are 0.0004 apart" in line
    assert collapse.warnings(made, {"negative_distance": float("nan")}) == []


def test_one_learner_cannot_collapse() -> None:
    single = recipe("model.kind=single", "model.learners=1")
    assert collapse.warnings(single, {"cosine": 1.0}) == []
