"""cluster/slurm.sh under SLURM's own daemons: taken off in the middle, it ends as if never."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import slurm_daemons
from processes import ROOT, TINY, environment
from slurm_daemons import Slurm
from test_train_resume import left_behind

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm_daemons.absent()),
        reason="SLURM is not installed (Debian: apt-get install slurmd slurmctld slurm-client): "
        f"no {', '.join(slurm_daemons.absent())}",
    ),
]

STEPS = 90
LONGER = (f"--config.train.steps={STEPS}", "--config.train.evaluate_every=15")
ENDLESS = ("--config.train.steps=9999", "--config.train.evaluate_every=0")


class Training:
    """cluster/slurm.sh, submitted."""

    def __init__(self, slurm: Slurm, workdir: Path, *options: str, overrides: tuple[str, ...]):
        output = f"--output={slurm.folder}/%j.out"
        self.slurm = slurm
        self.job = slurm.call(
            *("sbatch", "--parsable", "--time=60", output, *options),
            *(ROOT / "cluster" / "slurm.sh", "--config", TINY, "--workdir", workdir, *overrides),
        )
        self.output = slurm.folder / f"{self.job}.out"  # the tests' own: it is appended to

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def reaches(self, text: str) -> None:
        """Waits for a text in the output."""
        self.waits(f"{text!r} of {self.output.name}", lambda: text in self.said())

    def waits(self, what: str, reached: Callable[[], bool]) -> None:
        """Waits until something is so, as long as it has not ended."""
        over = ("COMPLETED", "FAILED", "CANCELLED")
        self.slurm.wait(what, lambda: reached() or self.state()[0] in over)
        assert reached(), f"ended without {what}\n{self.slurm.said()}"

    def state(self) -> tuple[str, int, str]:
        """Its state, how often it was requeued, and its exit status with the signal behind it."""
        known = self.slurm.job(self.job)
        return known["JobState"], int(known["Restarts"]), known["ExitCode"]

    def comes_back(self, times: int) -> None:
        """Waits until it was requeued so often; SLURM would begin it again in two minutes."""
        self.waits(f"requeue {times}", lambda: self.state()[:2] == ("PENDING", times))
        # Begun in the same second it would be refused: its credential was revoked in that.
        self.slurm.call("scontrol", "update", f"JobId={self.job}", "StartTime=now+3")
        self.reaches(f"restart {times}\n")

    def ends(self) -> tuple[str, int, str]:
        going = ("PENDING", "RUNNING", "COMPLETING")
        self.slurm.wait(f"the end of job {self.job}", lambda: self.state()[0] not in going)
        return self.state()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Slurm]:
    folder = tmp_path_factory.mktemp("slurm") / "cluster"
    with slurm_daemons.cluster(folder, environment(tiny_data)) as slurm:
        yield slurm


@pytest.fixture(autouse=True)
def _no_job_is_left(slurm: Slurm) -> Iterator[None]:
    """A test that failed leaves none behind for which the next would wait."""
    yield
    slurm.cancel()


def stopped(training: Training) -> list[int]:
    """The steps at which it was asked to stop and saved."""
    found = re.findall(r"asked to stop: step (\d+) is saved", training.said())
    return [int(step) for step in found]


def test_two_nodes_preempted_and_warned_end_as_if_never_stopped(
    slurm: Slurm, tmp_path: Path
) -> None:
    complete = Training(slurm, tmp_path / "whole", "--nodes=2", overrides=LONGER)
    assert complete.ends() == ("COMPLETED", 0, "0:0"), slurm.said()
    assert "on 2 cpu device(s)" in complete.said()
    cut = Training(slurm, tmp_path / "cut", "--nodes=2", overrides=LONGER)
    cut.reaches("step  6/")
    # A job that may preempt it wants both nodes: SLURM sends SIGTERM and requeues.
    slurm.call("sbatch", "--partition=high", "--nodes=2", "--output=/dev/null", "--wrap=true")
    cut.comes_back(1)
    assert "DUE TO PREEMPTION" in cut.said()
    (first,) = stopped(cut)
    assert 6 <= first < STEPS // 2
    cut.reaches(f"step {first // 3 * 3 + 6}/")
    # What --signal=B:USR1@300 sends when the time is nearly over.
    slurm.call("scancel", "--batch", "--signal=USR1", cut.job)
    cut.comes_back(2)
    assert "requeued: all saved when asked to stop, or a host is gone" in cut.said()
    assert cut.ends() == ("COMPLETED", 2, "0:0"), slurm.said()
    second = stopped(cut)[1]
    assert first < second < STEPS
    for step in (first, second):
        assert f"going on from step {step} of {STEPS}" in cut.said()
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")


def test_one_node_saves_when_cancelled_and_does_not_come_back(slurm: Slurm, tmp_path: Path) -> None:
    training = Training(slurm, tmp_path / "run", overrides=ENDLESS)
    training.reaches("6/9999")
    assert "on 1 cpu device(s)" in training.said()
    slurm.call("scancel", training.job)
    state, restarts, _ = training.ends()
    assert (state, restarts) == ("CANCELLED", 0), slurm.said()
    slurm.wait("its end", lambda: "ended with status 75, taken off" in training.said())
    assert len(stopped(training)) == 1
    assert "requeued" not in training.said()


def test_a_mistake_is_not_tried_again(slurm: Slurm, tmp_path: Path) -> None:
    training = Training(slurm, tmp_path / "run", overrides=("--config.train.batches=3",))
    assert training.ends() == ("FAILED", 0, "2:0"), slurm.said()
    assert "0: error: " in training.said()
    assert "ended with status 2" in training.said()


def test_a_process_killed_on_one_of_two_nodes_brings_the_job_back(
    slurm: Slurm, tmp_path: Path
) -> None:
    options = ("--nodes=2", "--cpus-per-task=1", "--gpus-per-node=2")
    training = Training(slurm, tmp_path / "run", *options, overrides=ENDLESS)
    training.reaches("6/9999")
    second = slurm.processes(training.job, 1)
    for process, known in second.items():
        # Else srun takes one CPU, whatever was asked for, and JAX one GPU.
        assert (known["SRUN_CPUS_PER_TASK"], known["JAX_LOCAL_DEVICE_IDS"]) == ("1", "0,1")
        os.kill(process, signal.SIGKILL)
    assert second
    training.comes_back(1)
    assert "requeued: a process died (status 137)" in training.said()
    training.reaches("going on from step ")


def test_a_process_frozen_on_one_of_two_nodes_does_not_keep_the_job_from_coming_back(
    slurm: Slurm, tmp_path: Path
) -> None:
    options = ("--nodes=2", "--export=ALL,ABE_JAX_WAIT=5")
    training = Training(slurm, tmp_path / "run", *options, overrides=ENDLESS)
    training.reaches("6/9999")
    second = slurm.processes(training.job, 1)
    for process in second:
        os.kill(process, signal.SIGSTOP)
    assert second
    training.comes_back(1)
    assert " requeued: " in training.said()
    training.reaches("going on from step ")


def test_grace_time_and_a_requeue_by_hand_save_and_bring_the_job_back(
    slurm: Slurm, tmp_path: Path
) -> None:
    training = Training(slurm, tmp_path / "run", "--partition=grace", overrides=ENDLESS)
    training.reaches("6/9999")
    slurm.call("sbatch", "--partition=high", "--nodes=2", "--output=/dev/null", "--wrap=true")
    training.comes_back(1)
    assert "requeued: all saved when asked to stop, or a host is gone" in training.said()
    assert "DUE TO PREEMPTION" not in training.said()
    training.reaches(f" {stopped(training)[0] // 3 * 3 + 3}/9999")
    slurm.call("scontrol", "requeue", training.job)
    training.comes_back(2)
    assert "ended with status 75, taken off by SLURM" in training.said()
    first, second = stopped(training)
    assert first < second
    training.reaches(f"going on from step {second} of 9999")


def test_a_signal_before_it_listens_brings_the_job_back_but_not_for_ever(
    slurm: Slurm, tmp_path: Path
) -> None:
    option = "--export=ALL,ABE_JAX_RESTARTS=1"
    training = Training(slurm, tmp_path / "run", option, overrides=ENDLESS)

    def asked(says: str) -> bool:  # as soon as there is a process
        slurm.run("scancel", "--signal=TERM", f"{training.job}.0")
        return says in training.said()

    why = "a signal came before the training had begun"
    training.waits("requeue", lambda: asked(f" requeued: {why}"))
    training.comes_back(1)
    training.waits("the end", lambda: asked(f" not requeued, after 1 restarts: {why}"))
    assert training.ends() == ("FAILED", 1, "1:0"), slurm.said()
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_processes_that_hang_do_not_keep_the_job_from_coming_back(
    slurm: Slurm, tmp_path: Path
) -> None:
    option = "--export=ALL,ABE_JAX_LEFT=3"
    training = Training(slurm, tmp_path / "run", option, overrides=ENDLESS)
    training.reaches("6/9999")
    slurm.call("scancel", "--signal=STOP", f"{training.job}.0")
    slurm.call("scancel", "--batch", "--signal=USR1", training.job)
    training.comes_back(1)
    assert "requeued: some process had not ended 3 s later" in training.said()
