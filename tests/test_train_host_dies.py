"""One of three hosts is killed at a random point; the job started anew ends as if nothing was.

Three kills, one in each kind of work, whose points and victims are drawn anew each time. `--kills
10` of pytest's command line gives ten, and `--kill-seed` those of a test that failed.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import ROOT, TINY, command, ended, environment, port, worker

pytestmark = pytest.mark.slow

HOSTS = 3
WITHIN = 60.0  # seconds in which the others have ended
SEED = random.SystemRandom().randrange(10**6)  # unless --kill-seed names one
ON = "; the same command goes on from the last checkpoint"

# By what the job is at: a text of host 0's, or a path in the run's folder, at which a kill is due,
# and the seconds of which a random part is waited then. Validation comes at steps 5, 10, 15, a
# checkpoint at 4, 8, 12, 16 and behind a better validation; the test, of a second and more on a
# fast machine, behind the last: a kill that waits longer than it could come after the end.
POINTS = {
    "training": [
        *[("compiling the training step", 0.8), ("step  3/", 0.4), ("step  6/", 0.3)],
        *[("step  9/", 0.3), ("step 12/", 0.3), ("on 3 cpu device", 0.8)],
    ],
    "evaluation": [
        *[("step 16/", 0.6), ("checkpoints/latest/4", 0.5), ("step  9/", 0.3)],
        *[("step 15/", 0.3), ("checkpoints/latest/12", 0.3)],
    ],
    "checkpointing": [
        *[("checkpoints/latest/4.*", 0.1), ("checkpoints/best/5.*", 0.1)],
        *[("checkpoints/latest/8.*", 0.1), ("checkpoints/latest/12.*", 0.1)],
        *[("checkpoints/latest/16.*", 0.1)],
    ],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        kills = range(int(metafunc.config.getoption("kills") or 0))
        kinds = list(POINTS)
        metafunc.parametrize("kill", kills, ids=[f"{kinds[k % 3]}-{k}" for k in kills])


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


def complete(workdir: Path, data: Path) -> tuple[bytes, bytes]:
    """Trains to the end; metrics.csv and evaluation.json."""
    for status, errors in ended(start(workdir, data), 600):
        assert status == 0, errors
    return (workdir / "metrics.csv").read_bytes(), (workdir / "evaluation.json").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[bytes, bytes]:
    return complete(tmp_path_factory.mktemp("whole") / "run", tiny_data)


def wait_for(point: str, first: subprocess.Popen[str], workdir: Path) -> None:
    """Waits until the first host has said a text, or a path of the run's folder is there."""
    if point.startswith("checkpoints/"):
        while first.poll() is None and not list(workdir.glob(point)):
            time.sleep(0.001)
        assert first.poll() is None, first.communicate()
        return
    assert first.stdout is not None
    assert any(point in line for line in first.stdout), first.communicate()


@pytest.fixture(scope="module")
def seed(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("kill_seed")
    return SEED if given is None else int(given)


def test_a_killed_host_is_named_and_the_job_goes_on(
    kill: int, seed: int, uninterrupted: tuple[bytes, bytes], tmp_path: Path, tiny_data: Path
) -> None:
    drawn = random.Random(f"{seed} {kill}")
    victim = drawn.randrange(HOSTS)
    points = list(POINTS.values())[kill % 3]
    point, spread = drawn.choice(points)
    waited = drawn.uniform(0.0, spread)
    hosts = start(tmp_path / "run", tiny_data)
    wait_for(point, hosts[0], tmp_path / "run")
    time.sleep(waited)
    # The process that works, as the kernel takes it when memory runs out, or the one beside it.
    os.kill(worker(hosts[victim]) if kill % 2 else hosts[victim].pid, signal.SIGKILL)
    began = time.monotonic()
    found = ended(hosts, WITHIN)
    took = time.monotonic() - began
    drew = f"--kill-seed {seed}: host {victim} killed {waited:.2f} s after {point!r}"
    print(f"{drew}; all ended in {took:.1f} s")
    line = f"error: host {victim} is gone: it gives no sign of life{ON}\n"
    others = [found[number] for number in range(HOSTS) if number != victim]
    assert others == [(75, line)] * 2, drew
    killed = f"error: this host was killed, perhaps because memory ran out{ON}\n"
    assert found[victim] == ((137, killed) if kill % 2 else (-signal.SIGKILL, ""))
    assert complete(tmp_path / "run", tiny_data) == uninterrupted
