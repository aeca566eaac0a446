"""A job's hosts as real processes that join by the commands' own way, and lose one another."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest
from processes import ROOT, environment, port, worker

pytestmark = pytest.mark.slow

WITHIN = 60.0  # seconds after a host's end in which the others end
START = 200.0  # seconds for jobs whose start counts: JAX is slow to import on a busy machine
ON = "; the same command goes on from the last checkpoint"

Host = subprocess.Popen[str]


def start(
    does: str, data: Path, numbers: list[int], of: int, *arguments: object, at: int = 0
) -> list[Host]:
    """Hosts with these numbers, of a job of so many; `at` is the port of its first."""
    program = [sys.executable, ROOT / "tests" / "hosts_program.py", does]
    given = [
        "--coordinator",
        f"127.0.0.1:{at or port()}",
        "--processes",
        of,
        *arguments,
        "--process",
    ]
    return [
        subprocess.Popen(
            [str(word) for word in (*program, *given, number)],
            cwd=ROOT,
            env={**environment(data), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in numbers
    ]


def until_joined(host: Host) -> None:
    assert host.stdout is not None
    assert any("joined" in line for line in host.stdout)


def ended(hosts: list[Host], within: float = WITHIN) -> list[tuple[int, list[str]]]:
    """Status and lines on the error stream of each, which must have ended in time."""
    return [(status, errors.splitlines()) for status, errors in processes.ended(hosts, within)]


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_others_name_a_host_that_is_gone(
    victim: int, how: signal.Signals, tmp_path: Path
) -> None:
    hosts = start("exchange", tmp_path, [0, 1, 2], 3)
    until_joined(hosts[1 - victim])
    os.kill(worker(hosts[victim]), how)
    gone = hosts[victim]
    try:
        left = ended([host for host in hosts if host is not gone])
    finally:
        gone.kill()  # takes a worker that was stopped along
        own = gone.communicate()[1].splitlines()
    line = f"error: host {victim} is gone: it gives no sign of life{ON}"
    assert left == [(75, [line]), (75, [line])]
    if how == signal.SIGKILL:
        assert own == [f"error: this host was killed, perhaps because memory ran out{ON}"]
        assert gone.returncode == 128 + signal.SIGKILL


def test_a_host_that_crashes_says_so(tmp_path: Path) -> None:
    first, second = ended(start("abort", tmp_path, [0, 1], 2), START)
    assert first == (75, [f"error: host 1 is gone: it gives no sign of life{ON}"])
    assert second[0] == 128 + signal.SIGABRT
    assert second[1][-1] == "error: this host crashed (SIGABRT)"


def test_a_host_whose_collective_another_breaks_off_says_so(tmp_path: Path) -> None:
    """Gloo aborts the one, so that it is gone for the other."""
    said = sorted(ended(start("mismatch", tmp_path, [0, 1], 2), START))
    assert [status for status, _ in said] == [75, 75]
    (gone,), (lost,) = sorted(lines for _, lines in said)
    assert re.fullmatch(f"error: host [01] is gone: it gives no sign of life{ON}", gone)
    assert lost == f"error: lost touch with the other hosts{ON}"


def test_a_barrier_of_a_checkpoint_that_fails_is_no_mistake_of_the_disk(tmp_path: Path) -> None:
    first, second = ended(start("save", tmp_path, [0, 1], 2), START)
    assert first == (75, [f"error: host 1 is gone: it gives no sign of life{ON}"])
    assert second == (137, [f"error: this host was killed, perhaps because memory ran out{ON}"])


def test_late_hosts_are_named(tmp_path: Path) -> None:
    lines = ended(start("exchange", tmp_path, [0, 2], 4, "--join-within", 12), START)
    assert lines == [(75, [f"error: hosts 1, 3 did not join within 12 s{ON}"])] * 2


def test_without_the_first_host_nobody_waits_for_ever(tmp_path: Path) -> None:
    ((status, lines),) = ended(start("exchange", tmp_path, [1], 2, "--join-within", 3), START)
    assert status == 75
    assert lines == [f"error: host 0 could not be joined within 3 s: it or another is missing{ON}"]


def test_a_host_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    at = port()
    hosts = start("end", tmp_path, [0], 2, "--join-within", 100, at=at)
    time.sleep(8)
    hosts += start("end", tmp_path, [1], 2, "--join-within", 100, at=at)
    assert ended(hosts, START) == [(0, []), (0, [])]


def test_a_host_that_never_comes_is_named(tmp_path: Path) -> None:
    hosts = start("stall", tmp_path, [0, 1], 2, "--stalled-after", 6)
    for status, lines in ended(hosts, START):
        assert status == 75
        assert lines == [
            "error: no host has made progress for 6 s; the others wait at an exchange between the "
            f"hosts for host 1 (at step 7){ON}"
        ]


def test_a_host_at_work_keeps_the_others_waiting_as_long_as_it_takes(tmp_path: Path) -> None:
    hosts = start("busy", tmp_path, [0, 1], 2, "--stalled-after", 10)
    assert ended(hosts, START) == [(0, []), (0, [])]


def test_hosts_that_were_started_differently_are_refused(tmp_path: Path) -> None:
    line = "error: the hosts were started differently: config.seed: 0 on host 0, 1 on host 1"
    assert ended(start("differ", tmp_path, [0, 1], 2), START) == [(2, [line]), (2, [line])]


def test_a_host_that_sees_a_file_late_is_not_refused(tmp_path: Path) -> None:
    assert ended(start("lag", tmp_path, [0, 1], 2), START) == [(0, []), (0, [])]


@pytest.mark.parametrize(
    ("how", "own", "status"),
    [("fault", 1, 1), ("mistake", 2, 2), ("unread", 141, 75), ("interrupt", 130, 130)],
)
def test_the_others_end_as_the_one_that_stopped(
    how: str, own: int, status: int, tmp_path: Path
) -> None:
    first, second, third = ended(start(how, tmp_path, [0, 1, 2], 3), START)
    assert second[0] == own
    for said, lines in (first, third):
        (line,) = lines
        assert said == status
        assert re.fullmatch(r"error: host \d stopped; what it printed says why.*", line)
        assert line.endswith(ON) == (status == 75)


def test_a_port_that_another_process_has_is_worth_another_try(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        number = taken.getsockname()[1]
        ((status, lines),) = ended(start("exchange", tmp_path, [0], 2, at=number), START)
    assert status == 75
    ways = (  # JAX's runtime raises, or crashes
        "cannot join the other hosts: UNKNOWN: Failed to start RPC server",
        f"the first host cannot listen on port {number}: another process has it",
    )
    assert lines in [[f"error: {way}{ON}"] for way in ways]


def test_a_number_that_no_host_has_is_a_mistake(tmp_path: Path) -> None:
    ((status, lines),) = ended(start("exchange", tmp_path, [2], 2), START)
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("error: cannot join the other hosts: ")
