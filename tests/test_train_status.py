"""status.json: true at every moment, whole at every reading, and right on every way out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, TINY, command, environment, port, run, worker

from abe_jax.training import status
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

LONG = ("--config.train.steps=4000", "--config.train.evaluate_every=0")


def start(workdir: Path, data: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("train", "--config", TINY, "--workdir", workdir, *arguments),
        cwd=ROOT,
        env=environment(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(workdir: Path) -> dict[str, Any]:
    """The file as a watcher reads it: empty before there is one, never cut short."""
    try:
        return json.loads((workdir / "status.json").read_text())
    except FileNotFoundError:
        return {}


def age(said: dict[str, Any], name: str = "written") -> float:
    """Seconds since a time in the file."""
    return time.time() - datetime.fromisoformat(said[name]).timestamp()


def watched(
    workdir: Path, process: subprocess.Popen[str], until: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """What the file said, until a condition holds or the process ends."""
    seen: list[dict[str, Any]] = []
    end = time.monotonic() + 280
    while process.poll() is None and time.monotonic() < end:
        said = read(workdir)
        if said and (not seen or said != seen[-1]):
            seen.append(said)
            if until(said):
                break
        time.sleep(0.002)
    return seen


def test_a_run_is_followed_from_its_start_to_its_end(tmp_path: Path, tiny_data: Path) -> None:
    process = start(tmp_path, tiny_data)
    seen = watched(tmp_path, process, until=lambda said: False)
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    seen.append(read(tmp_path))
    states = [said["state"] for said in seen]
    assert (states[0], states[-1]) == ("starting", "finished")
    assert {"compiling", "evaluating"} < set(states) <= set(status.STATES)
    steps = [said["step"] for said in seen]
    assert steps == sorted(steps) and (steps[0], steps[-1]) == (0, 16)
    end = seen[-1]
    assert (end["of"], end["checkpoint"], end["line"], end["pid"]) == (16, 16, None, process.pid)
    assert (end["processes"], end["devices"], end["platform"]) == (1, 1, "cpu")
    assert f"{end['images_per_second']:,.0f} images/s" in printed
    assert end["seconds_per_step"] == pytest.approx(32 / end["images_per_second"])
    assert end["started"] <= end["checkpoint_written"] <= end["written"]
    assert end["started"] <= end["stepped"] <= end["since"] <= end["written"]
    again = run("train", "--config", TINY, "--workdir", tmp_path, data=tiny_data)
    assert again.returncode == 0 and read(tmp_path) == end


def test_sigterm_a_refusal_and_the_same_command_again(tmp_path: Path, tiny_data: Path) -> None:
    process = start(tmp_path, tiny_data, *LONG)
    watched(tmp_path, process, until=lambda said: said["step"] > 5)
    second = run("train", "--config", TINY, "--workdir", tmp_path, *LONG, data=tiny_data)
    assert second.returncode == 2 and "another training runs here" in second.stderr
    assert read(tmp_path)["state"] in ("training", "saving")  # the other's word, not the second's
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=100)
    said = read(tmp_path)
    assert (process.returncode, said["state"]) == (75, "stopped")
    assert said["line"] == printed.splitlines()[-1]
    assert 5 < said["step"] == said["checkpoint"] < 4000
    assert said["checkpoint"] == Checkpoints.steps_in(RunFolder(tmp_path).latest)[-1]
    other = run("train", "--config", TINY, "--workdir", tmp_path, data=tiny_data)
    refused = read(tmp_path)
    assert other.returncode == 2 and refused["state"] == "failed"
    assert other.stderr == f"error: {refused['line']}\n"
    process = start(tmp_path, tiny_data, *LONG)
    seen = watched(tmp_path, process, until=lambda now: now["step"] > said["step"])
    process.kill()
    process.communicate()
    assert seen[-1]["line"] is None
    assert {now["step"] for now in seen if now["pid"] == process.pid} >= {said["step"]}


def test_a_loss_that_is_not_finite_stands_in_the_file_as_on_stderr(
    tmp_path: Path, tiny_data: Path
) -> None:
    wild = ("--config.optimizer.name=sgd", "--config.optimizer.rate=1e30")
    done = run("train", "--config", TINY, "--workdir", tmp_path, *wild, data=tiny_data)
    said = read(tmp_path)
    assert (done.returncode, said["state"]) == (2, "failed")
    assert "not finite" in said["line"] and done.stderr == f"error: {said['line']}\n"


CRASHING = """
import sys
import abe_jax as abe

def loss(*arguments):
    raise RuntimeError("a bug of the user's\\nin two lines")

abe.fit(abe.SingleHead(backbone="convnet", dim=8), abe.losses.custom(loss),
        abe.data.glyphs(tiny=True), steps=3, workdir=sys.argv[1], batch=16)
"""


def test_a_crash_stands_in_the_file_by_its_first_line(tmp_path: Path, tiny_data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path)],
        cwd=ROOT,
        env=environment(tiny_data),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    said = read(tmp_path)
    assert done.returncode == 1, done.stderr
    assert (said["state"], said["line"]) == ("failed", "RuntimeError: a bug of the user's")


def saved_by(pid: int) -> Callable[[dict[str, Any]], bool]:
    """Whether this process has taken a step, and a checkpoint is there."""
    return lambda said: said["pid"] == pid and bool(said["stepped"] and said["checkpoint"])


def test_a_kill_leaves_a_whole_file_that_grows_old(tmp_path: Path, tiny_data: Path) -> None:
    for attempt in range(3):
        process = start(tmp_path, tiny_data, *LONG)
        mine = saved_by(process.pid)
        watched(tmp_path, process, until=mine)
        time.sleep(0.1 * attempt)
        process.kill()
        process.communicate()
        assert read(tmp_path)["pid"] == process.pid
        assert read(tmp_path)["state"] in ("training", "saving", "compiling")
    (tmp_path / ".status.json.1.partial").write_text("{")  # as a kill in the middle leaves it
    process = start(tmp_path, tiny_data, *LONG)
    seen = watched(tmp_path, process, until=lambda said: said["pid"] == process.pid)
    process.kill()
    process.communicate()
    assert seen[-1]["checkpoint"] == Checkpoints.steps_in(RunFolder(tmp_path).latest)[-1]
    assert not (tmp_path / ".status.json.1.partial").exists()


def job(workdir: Path, data: Path) -> list[subprocess.Popen[str]]:
    """The two hosts of one job."""
    at = f"127.0.0.1:{port()}"
    return [
        start(workdir, data, *LONG, "--coordinator", at, "--processes", 2, "--process", number)
        for number in range(2)
    ]


def test_a_job_that_hangs_is_told_from_a_slow_one(tmp_path: Path, tiny_data: Path) -> None:
    """One of two hosts stands still: the other, which waits for it, beats and takes no step."""
    first, second = job(tmp_path, tiny_data)
    try:
        watched(tmp_path, first, until=lambda said: said["step"] > 20)
        os.kill(worker(second), signal.SIGSTOP)
        # JAX's runtime gives the host up behind 12 s or more; a heartbeat comes before.
        seen = watched(tmp_path, first, until=lambda now: age(now, "stepped") - age(now) >= 2)
        hangs = seen[-1]
        assert hangs["state"] in ("training", "saving") and hangs["processes"] == 2
        assert hangs["seconds_per_step"] < 2 and age(hangs) < status.BEAT + 3
        _, errors = first.communicate(timeout=60)
        said = read(tmp_path)
        assert (first.returncode, said["state"], said["pid"]) == (75, "failed", hangs["pid"])
        assert said["line"].startswith("host 1 is gone") and errors == f"error: {said['line']}\n"
        assert said["step"] == hangs["step"]
    finally:
        first.kill()
        second.kill()  # takes along the one that was stopped
        second.communicate()


def test_of_a_host_that_was_killed_the_process_beside_it_tells(
    tmp_path: Path, tiny_data: Path
) -> None:
    first, second = job(tmp_path, tiny_data)
    try:
        seen = watched(tmp_path, first, until=lambda said: said["step"] > 20)
        assert seen[-1]["pid"] == worker(first)
        os.kill(worker(first), signal.SIGKILL)
        _, errors = first.communicate(timeout=60)
        said = read(tmp_path)
        assert (first.returncode, said["state"]) == (137, "failed")
        assert said["line"].startswith("this host was killed")
        assert errors == f"error: {said['line']}\n"
        second.communicate(timeout=60)
        assert second.returncode == 75
        assert read(tmp_path) == said  # the second host's word is not the first's
    finally:
        first.kill()
        second.kill()
