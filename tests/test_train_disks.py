"""A work folder that takes no more: one line, the last checkpoint whole, the run goes on later."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import TINY, port
from small_disk import SmallDisk, small_disk
from test_train_status import LONG, read, saved_by, watched

from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "24m") as made:
        yield made


def start(disk: SmallDisk, data: Path, *job: object) -> subprocess.Popen[str]:
    return disk.start(data, "train", "--config", TINY, "--workdir", disk.path / "run", *LONG, *job)


def stops(disk: SmallDisk, process: subprocess.Popen[str]) -> int:
    """The step that is saved where a run ends that can write no more."""
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 2, errors
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert "cannot be written" in errors and "intact" in errors
    folder = RunFolder(disk.seen / "run")
    return Checkpoints.steps_in(folder.latest)[-1]


def goes_on(disk: SmallDisk, data: Path, saved: int) -> None:
    process = start(disk, data)
    watched(disk.seen / "run", process, until=lambda said: said["step"] > saved + 8)
    process.terminate()
    printed, errors = process.communicate(timeout=280)
    assert (process.returncode, errors) == (75, ""), errors
    assert f"going on from step {saved} of" in printed
    said = read(disk.seen / "run")
    assert (said["state"], said["line"]) == ("stopped", printed.splitlines()[-1])
    assert not list((disk.seen / "run").rglob("*tmp*"))


def test_a_full_disk_ends_with_one_line_and_the_run_goes_on_with_room(
    disk: SmallDisk, tiny_data: Path
) -> None:
    process = start(disk, tiny_data)
    watched(disk.seen / "run", process, until=saved_by(process.pid))
    disk.fill()
    saved = stops(disk, process)
    assert not list((disk.seen / "run").rglob("*tmp*"))  # a failed write leaves its room
    disk.empty()
    goes_on(disk, tiny_data, saved)


def test_a_disk_that_turns_read_only_ends_with_one_line(disk: SmallDisk, tiny_data: Path) -> None:
    process = start(disk, tiny_data)
    watched(disk.seen / "run", process, until=saved_by(process.pid))
    disk.read_only(True)
    saved = stops(disk, process)
    again = start(disk, tiny_data)
    _, errors = again.communicate(timeout=280)
    assert (again.returncode, errors.count("\n")) == (2, 1), errors
    assert "Read-only file system" in errors and str(disk.path / "run") in errors
    disk.read_only(False)
    goes_on(disk, tiny_data, saved)


def test_a_disk_that_is_full_for_two_hosts_ends_both(disk: SmallDisk, tiny_data: Path) -> None:
    """Whichever of them finds it out says so; the other that it stopped, if not the same."""
    job = ("--coordinator", f"127.0.0.1:{port()}", "--processes", 2, "--process")
    hosts = [start(disk, tiny_data, *job, number) for number in range(2)]
    try:
        watched(
            disk.seen / "run",
            hosts[0],
            until=lambda said: bool(said["stepped"] and said["checkpoint"]),
        )
        disk.fill()
        said = [host.communicate(timeout=120)[1] for host in hosts]
        assert [host.returncode for host in hosts] == [2, 2], said
        assert all(errors.startswith("error: ") and errors.count("\n") == 1 for errors in said), (
            said
        )
        assert any("cannot be written" in errors for errors in said), said
    finally:
        for host in hosts:
            host.kill()
    disk.empty()
    folder = RunFolder(disk.seen / "run")
    goes_on(disk, tiny_data, Checkpoints.steps_in(folder.latest)[-1])
