"""The process beside a host: what passes through it, and with which status it ends."""

import subprocess
import sys
import time
from typing import Any

import pytest
from processes import ROOT
from test_hosts_log import GONE, OWN

from abe_jax.hosts.supervisor import ON

PROGRAM = """
import os, resource, signal, sys, time
from abe_jax.hosts import supervisor
supervisor.BUFFERED = {hold}
{before}
supervisor.supervise(9.0)
"""
FATAL = OWN + GONE
GONE_LINE = f"error: host 1 is gone: it gives no sign of life; {ON}\n"


def supervised(
    child: str, *, hold: float = 10.0, before: str = "", **streams: Any
) -> "subprocess.CompletedProcess[str]":
    """Runs some lines of Python as a host beside which a supervisor stands.

    `hold` is the time in seconds for which the runtime's lines are held back; `before`: lines that
    the process runs before it forks.
    """
    program = f"{PROGRAM.format(hold=hold, before=before)}\n{child}"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, text=True, timeout=60, check=False, **streams
    )


def says(text: str) -> str:
    """The line of a host that writes a text to its error stream, all of it at once."""
    return f"os.write(2, {text.encode()!r})\n"


# Far more than a pipe takes of which nobody reads.
MUCH = """
for _ in range(1000):
    os.write(2, b"x" * 1000 + b"\\n")
os._exit(3)
"""


def test_a_full_disk_under_the_errors_does_not_stop_the_host() -> None:
    with open("/dev/full", "w") as full:
        assert supervised(MUCH, stderr=full).returncode == 3


def test_last_words_are_one_line_however_long_the_abort_takes() -> None:
    done = supervised(f"{says(FATAL)}time.sleep(2)\nos.abort()", hold=0.5)
    assert (done.returncode, done.stderr) == (75, GONE_LINE)


def test_last_words_may_come_one_after_the_other() -> None:
    warning = (
        OWN.partition("client.h")[0].replace("F", "E", 1) + "coordination_service.cc:9] Polled\n"
    )
    waits = f"{says(warning)}time.sleep(1.5)\n"
    done = supervised(f"{waits}{waits}{says(FATAL)}os.abort()", hold=2.5)
    assert (done.returncode, done.stderr) == (75, GONE_LINE)


def test_lines_that_no_abort_follows_are_shown() -> None:
    warning = OWN.replace("F", "W", 1).partition(" Terminating")[0] + " a warning\n"
    told = f"{says(warning)}time.sleep(2)\nos.write(1, b'now')\ntime.sleep(1)\nos._exit(0)"
    done = supervised(told, hold=0.5)
    assert (done.returncode, done.stderr) == (0, warning)


def test_a_host_writes_no_core_of_its_memory() -> None:
    most = (
        "resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)"
    )
    child = "print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)"
    assert supervised(child, before=most).stdout == "0\n"


@pytest.mark.parametrize("ends", ["os._exit({status})", "os.abort()"])
@pytest.mark.parametrize(("more", "status"), [("", 2), (f"; {ON}", 75)])
@pytest.mark.parametrize("late", [False, True], ids=["before", "behind"])
def test_the_hosts_own_line_and_status_stay_where_the_runtime_has_last_words_as_well(
    ends: str, more: str, status: int, late: bool
) -> None:
    line = f"error: host 2 stopped; what it printed says why{more}\n"
    both = (FATAL, line) if late else (line, FATAL)
    child = "".join(f"{says(text)}time.sleep(0.2)\n" for text in both)
    done = supervised(child + ends.format(status=status))
    assert (done.returncode, done.stderr) == (status, line)


def test_a_bar_is_seen_while_it_grows() -> None:
    child = "for text in (b'\\r 10%', b'\\r 20%', b' Epoch'):\n"
    child += "    os.write(2, text)\n    time.sleep(0.3)\n"
    child += "import select\nselect.select([0], [], [], 30)\nos._exit(0)"
    program = f"{PROGRAM.format(hold=10.0, before='')}\n{child}"
    words, began = [sys.executable, "-c", program], time.monotonic()
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as host:
        assert host.stdin is not None and host.stderr is not None
        expected = b"\r 10%\r 20% Epoch"
        assert host.stderr.read(len(expected)) == expected  # though it goes on
        assert time.monotonic() - began < 25
        host.stdin.close()
        assert (host.wait(60), host.stderr.read()) == (0, b"")


def test_last_words_may_come_in_pieces_and_behind_a_bar() -> None:
    pieces = ["\r 10%", FATAL[:3], FATAL[3:40], FATAL[40:]]
    child = "".join(f"{says(piece)}time.sleep(0.2)\n" for piece in pieces)
    done = supervised(f"{child}os.abort()")
    # Read as text \r ends a line like any other.
    assert (done.returncode, done.stderr) == (75, f"\n 10%{GONE_LINE}")


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_keep_a_host_from_its_end(closed: str) -> None:
    program = f"{PROGRAM.format(hold=10.0, before='')}\nprint('said', file=sys.stderr)\n{MUCH}"
    words = ["bash", "-c", f'exec "$@" {closed}', "bash", sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, b"")


def test_a_status_is_known_where_ended_children_are_ignored() -> None:
    ignored = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    assert supervised("os._exit(3)", before=ignored).returncode == 3
