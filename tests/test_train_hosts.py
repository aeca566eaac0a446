"""Two processes on one run: the same course as one process, written once, stopped together."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import ROOT, TINY, command, environment, port, run, worker

from abe_jax import config
from abe_jax.cli import ending
from abe_jax.config import build
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState

pytestmark = pytest.mark.slow


def start(
    module: str,
    workdir: Path,
    data: Path | list[Path],
    *arguments: object,
    devices: int = 1,
    own: Sequence[Sequence[object]] = ((), ()),
) -> list[subprocess.Popen[str]]:
    """The module on two hosts, which are two processes here, each with so many devices.

    `data` is that of both, or of each; `own` are more arguments of each.
    """
    roots = data if isinstance(data, list) else [data, data]
    hosts = ["--coordinator", f"127.0.0.1:{port()}", "--processes", 2, "--process"]
    return [
        subprocess.Popen(
            command(module, "--workdir", workdir, *arguments, *own[i], *hosts, i),
            cwd=ROOT,
            env=environment(roots[i], devices=devices),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each."""
    try:
        ended = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *said) for p, said in zip(processes, ended, strict=True)]


def said(output: str) -> list[str]:
    """The lines of ours; the transport of JAX's CPU collectives prints one of its own."""
    # Gloo's threads write a line in pieces, so its prefix can stand on another line than its text.
    gloo = ("[Gloo]", "peer ranks")
    lines = (line for line in output.splitlines() if line.strip())
    return [line for line in lines if not any(part in line for part in gloo)]


def rows(workdir: Path) -> list[dict[str, float]]:
    with (workdir / "metrics.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def numbers(value: object) -> list[float]:
    """All numbers in nested JSON, in its order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def restored(workdir: Path, part: str) -> TrainState:
    folder = RunFolder(workdir)
    like = build.recipe(config.read_json(folder.config)).abstract()
    checkpoints = Checkpoints(folder.path / "checkpoints" / part, 2)
    state = checkpoints.restore(like)[0]
    checkpoints.close()
    return state


def assert_same_run(workdir: Path, other: Path) -> None:
    """Equal but for rounding: other shapes on a device, other orders of summation."""
    one, two = rows(workdir), rows(other)
    assert [row.keys() for row in one] == [row.keys() for row in two]
    for left, right in zip(one, two, strict=True):
        for name in left:
            # Later a pair crosses its margin a step sooner, or a near tie turns.
            loose = 1e-5 if left["step"] <= 6 else 0.02
            assert right[name] == pytest.approx(left[name], rel=loose, abs=loose), name
    found = [json.loads((d / "evaluation.json").read_text())["test"] for d in (workdir, other)]
    assert found[0].keys() == found[1].keys()
    for name in ("step", "images", "queries"):
        assert found[0][name] == found[1][name]
    for name in ("metrics", "other_family"):
        measured = [numbers(evaluation[name]) for evaluation in found]
        np.testing.assert_allclose(measured[1], measured[0], atol=0.02)
    for part in ("latest", "best"):
        left, right = restored(workdir, part), restored(other, part)
        assert int(left.step) == int(right.step)
        np.testing.assert_allclose(
            np.concatenate([leaf.reshape(-1) for leaf in _leaves(right)]),
            np.concatenate([leaf.reshape(-1) for leaf in _leaves(left)]),
            atol=1e-3,
        )


def _leaves(state: TrainState) -> list[np.ndarray]:
    return jax.tree.leaves((state.params, state.batch_stats))


@pytest.fixture(scope="module")
def alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_data: Path
) -> Path:
    """A run of one process with as many devices as the hosts have together."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    arguments = ("train", "--config", TINY, "--workdir", workdir)
    assert run(*arguments, data=tiny_data, devices=2 * request.param).returncode == 0
    return workdir


def files(workdir: Path) -> set[str]:
    """What lies in a run's folder, without the names that Orbax and TensorBoard make up."""
    kept = (p.relative_to(workdir).as_posix() for p in workdir.rglob("*"))
    return {n.split(".out.")[0] for n in kept if "/d/" not in n and not n.endswith("/d")}


@pytest.mark.parametrize(("devices", "alone"), [(1, 1), (2, 2)], indirect=["alone"])
def test_two_hosts_train_and_evaluate_as_one(
    devices: int, alone: Path, tmp_path: Path, tiny_data: Path
) -> None:
    workdir = tmp_path / "run"
    first, second = finish(start("train", workdir, tiny_data, "--config", TINY, devices=devices))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "finished in" in first[1]
    assert said(second[1]) == []
    assert_same_run(alone, workdir)
    assert files(workdir) == files(alone)
    assert len(list(workdir.glob("events.*"))) == 1
    evaluation = (workdir / "evaluation.json").read_text()
    first, second = finish(start("evaluate", workdir, tiny_data, devices=devices))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert said(second[1]) == []
    assert (workdir / "evaluation.json").read_text() == evaluation
    first, second = finish(start("train", workdir, tiny_data, "--config", TINY, devices=devices))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "raw pixels" in first[1] and "finished before" in first[1]
    assert said(second[1]) == []


@pytest.mark.parametrize("asks", [signal.SIGTERM, signal.SIGUSR1], ids=lambda s: s.name)
def test_a_signal_to_one_stops_both_at_one_step_and_both_go_on(
    asks: signal.Signals, tmp_path: Path, tiny_data: Path
) -> None:
    longer = ["--config", TINY, "--config.train.steps=60", "--config.train.evaluate_every=0"]
    processes = start("train", tmp_path / "run", tiny_data, *longer)
    assert processes[0].stdout is not None
    for line in processes[0].stdout:
        if "step  3/" in line:
            processes[1].send_signal(asks)
            if asks == signal.SIGTERM:  # SLURM sends it to each process of a host
                os.kill(worker(processes[1]), asks)
            break
    ended = finish(processes)
    assert [status for status, *_ in ended] == [ending.GO_ON] * 2, ended
    at = int(restored(tmp_path / "run", "latest").step)
    assert 3 < at < 60
    assert f"asked to stop: step {at} is saved" in ended[0][1]
    assert not (tmp_path / "run" / "evaluation.json").exists()
    ended = finish(start("train", tmp_path / "run", tiny_data, *longer))
    assert [status for status, *_ in ended] == [0, 0], ended
    assert f"going on from step {at} of 60" in ended[0][1]
    steps = [row["step"] for row in rows(tmp_path / "run")]
    assert steps == list(range(3, 61, 3))


def test_a_refusal_ends_both_and_each_says_one_line(tmp_path: Path, tiny_data: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = finish(start("train", tmp_path / "file", tiny_data, "--config", TINY))
    assert [status for status, *_ in ended] == [2, 2], ended
    assert "cannot be written" in ended[0][2]
    assert "host 0 stopped" in ended[1][2]


def damaged_validation(data: Path, copy: Path) -> Path:
    """The same data with some of its validation images overwritten."""
    shutil.copytree(data, copy)
    (images,) = copy.rglob("*-val.array_record*")
    content = bytearray(images.read_bytes())
    for at in (20_000, 40_000):  # each host has some of these rows of a batch
        content[at : at + 4_000] = bytes(4_000)
    images.write_bytes(content)
    return copy


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_host_that_cannot_read_ends_both_with_a_line_each(
    damaged: int, tmp_path: Path, tiny_data: Path
) -> None:
    data = [tiny_data, tiny_data]
    data[damaged] = damaged_validation(tiny_data, tmp_path / "damaged")
    processes = start("train", tmp_path / "run", data, "--config", TINY)
    assert processes[0].stdout is not None
    for line in processes[0].stdout:  # the validation comes at step 5
        if "step  3/" in line:
            break
    began = time.monotonic()
    ended = finish(processes)
    assert time.monotonic() - began < 60
    assert [status for status, *_ in ended] == [2, 2], ended
    errors = [said(error) for *_, error in ended]
    assert [len(lines) for lines in errors] == [1, 1], errors
    assert str(tmp_path / "damaged") in errors[damaged][0]
    assert errors[1 - damaged] == [f"error: host {damaged} stopped; what it printed says why"]
    assert restored(tmp_path / "run", "latest").step == 4


@pytest.mark.parametrize("alone", [1], indirect=True)
def test_what_the_first_host_cannot_write_at_the_end_is_no_lost_host(
    alone: Path, tmp_path: Path, tiny_data: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(alone, workdir)
    (workdir / "report.html").unlink()
    (workdir / "report.html" / "in the way").mkdir(parents=True)
    ended = finish(start("evaluate", workdir, tiny_data))
    assert [status for status, *_ in ended] == [2, 2], ended
    (line,) = said(ended[0][2])
    assert "report.html" in line
    assert said(ended[1][2]) == ["error: host 0 stopped; what it printed says why"]


def test_a_folder_that_the_job_before_still_holds_is_waited_for(
    tmp_path: Path, tiny_data: Path
) -> None:
    overrides = ("--config.train.steps=4", "--config.train.evaluate_every=0")
    with RunFolder(tmp_path / "run").alone():
        processes = start("train", tmp_path / "run", tiny_data, "--config", TINY, *overrides)
        time.sleep(25)
        assert [process.poll() for process in processes] == [None, None]
    ended = finish(processes)
    assert [status for status, *_ in ended] == [0, 0], ended
