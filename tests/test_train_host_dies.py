"""One of three hosts is killed at a random point; the job started anew ends as if nothing was."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest
from processes import ROOT, TINY, command, environment, port

pytestmark = pytest.mark.slow

HOSTS = 3
WITHIN = 60.0  # seconds in which the others have ended
SEED = 14
KILLS = 10
ON = "; the same command goes on from the last checkpoint"

# Where host 0 stands when the kill is due; then comes a random part of a second.
POINTS = (
    *("compiling the training step", "step  3/", "step  5/", "step  6/"),  # 5: validation
    *("step  9/", "step 12/", "step 15/", "step 16/"),  # 12, 16: beside a checkpoint; 16: the test
)


def start(workdir: Path, data: Path) -> list[subprocess.Popen[str]]:
    """The hosts of one job."""
    overrides = ("--config.train.batch=48", "--config.evaluate.batch=48")  # divide by three
    given = ("train", "--config", TINY, "--workdir", workdir, *overrides)
    job = ("--coordinator", f"127.0.0.1:{port()}", "--processes", HOSTS, "--process")
    return [
        subprocess.Popen(
            command(*given, *job, number),
            cwd=ROOT,
            env=environment(data),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(HOSTS)
    ]


def ended(hosts: list[subprocess.Popen[str]], within: float) -> list[tuple[int, str]]:
    """Status and errors of each."""
    last = time.monotonic() + within
    try:
        said = [host.communicate(timeout=max(0.1, last - time.monotonic()))[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    return [(host.returncode, errors) for host, errors in zip(hosts, said, strict=True)]


def whole(workdir: Path, data: Path) -> tuple[str, object]:
    """Trains to the end; metrics.csv and evaluation.json."""
    for status, errors in ended(start(workdir, data), 600):
        assert status == 0, errors
    measured = json.loads((workdir / "evaluation.json").read_text())
    return (workdir / "metrics.csv").read_text(), measured


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[str, object]:
    return whole(tmp_path_factory.mktemp("whole") / "run", tiny_data)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_host_is_named_and_the_job_goes_on(
    kill: int, uninterrupted: tuple[str, object], tmp_path: Path, tiny_data: Path
) -> None:
    drawn = random.Random(SEED + kill)
    victim, point = kill % HOSTS, drawn.choice(POINTS)
    hosts = start(tmp_path / "run", tiny_data)
    assert hosts[0].stdout is not None
    assert any(point in line for line in hosts[0].stdout), hosts[0].communicate()
    time.sleep(drawn.uniform(0.0, 0.5))
    hosts[victim].kill()
    began = time.monotonic()
    found = ended(hosts, WITHIN)
    assert time.monotonic() - began < WITHIN
    line = f"error: host {victim} is gone: it gives no sign of life{ON}\n"
    others = [found[number] for number in range(HOSTS) if number != victim]
    assert others == [(75, line)] * 2, (victim, point)
    assert whole(tmp_path / "run", tiny_data) == uninterrupted
