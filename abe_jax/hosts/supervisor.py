"""The process beside each host of a job that says in one line how the host ended.

The host is a child of it, forked before anything heavy is imported. Its standard error comes
through here: what JAX's runtime writes before it aborts a process becomes one line, and everything
else passes as it is. A signal passes to the host; a host that was killed, say by a full memory, is
told of as well.
"""

import ctypes
import itertools
import os
import resource
import signal
import sys
import threading
import time
from typing import NoReturn

from abe_jax.hosts import runtime_log
from abe_jax.hosts.lost import GO_ON

PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
HELD = 10.0  # seconds that lines of the runtime are held back: where it aborts, it does so at once
ON = "the same command goes on from the last checkpoint"
# Seconds in which a host that has said why it ends waits for the others: the runtime may abort it.
STILL_SAID = 30.0
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def supervise(wait: float) -> None:
    """Forks: returns in the child, the host; the parent stays here and ends with its status.

    Args:
        wait: the seconds that the start waits for late hosts, for the line that says so.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    own, (reads, writes) = os.getpid(), os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        _Supervisor(child, reads, wait).run()
    os.close(reads)
    os.dup2(writes, 2)
    os.close(writes)
    os.setpgid(0, 0)  # Ctrl-C comes once, through the parent
    _without_core()
    _die_with(own)


def _die_with(parent: int) -> None:
    """A parent that is killed takes its host along; elsewhere than on Linux the host stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(GO_ON)


def _without_core() -> None:
    """The runtime's abort says nothing of this process: its memory need not be written to disk."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


class _Supervisor:
    """Relays a host's errors and waits for its end."""

    def __init__(self, child: int, reads: int, wait: float):
        self._child, self._reads, self._wait = child, reads, wait
        self._held: list[str] = []
        self._since = 0.0
        self._said = (0, 0.0)  # by the line with which the host ends: its status, and when
        self._lock = threading.Lock()

    def run(self) -> NoReturn:
        """Until the host has ended."""
        for number in PASSED:
            signal.signal(number, lambda got, _: self._pass(got))
        reader = threading.Thread(target=self._relay, daemon=True)
        reader.start()
        threading.Thread(target=self._let_go, daemon=True).start()
        _, status = os.waitpid(self._child, 0)
        reader.join(timeout=2.0)  # a process that the host started may have the pipe open still
        os._exit(self._ended(os.waitstatus_to_exitcode(status)))

    def _pass(self, number: int) -> None:
        try:
            os.kill(self._child, number)
        except ProcessLookupError:
            return

    def _relay(self) -> None:
        with open(self._reads, "rb", closefd=False) as pipe:
            for line in pipe:
                self._take(line.decode(errors="backslashreplace"))

    def _take(self, line: str) -> None:
        with self._lock:
            if line.startswith("error: "):  # why the host ends, in its own words
                self._said = (GO_ON if line.rstrip().endswith(ON) else 2, time.monotonic())
                _write(line)
                return
            if not self._held and not runtime_log.is_own(line):
                _write(line)
                return
            if runtime_log.is_own(line):
                self._since = time.monotonic()
            self._held.append(line)

    def _let_go(self) -> None:
        """Lines that no abort followed were no last words; an abort itself may take its time."""
        while True:
            time.sleep(HELD / 10)
            with self._lock:
                fatal = runtime_log.is_fatal("".join(self._held))
                if self._held and not fatal and time.monotonic() - self._since > HELD:
                    self._show()

    def _show(self) -> None:
        _write("".join(self._held))
        self._held.clear()

    def _ended(self, status: int) -> int:
        """The status to end with; says the line that is missing."""
        with self._lock:
            text = "".join(self._held)
            if runtime_log.is_fatal(text) and status < 0 and -status not in PASSED:
                own, when = self._said
                if own and time.monotonic() - when < STILL_SAID:
                    return own
                _write(f"error: {runtime_log.reason(text, self._wait)}; {ON}\n")
                return GO_ON
            # What was said by others in between; the runtime's own warnings explain nothing, and of
            # a host that ended by itself neither do its last words.
            said = itertools.takewhile(lambda line: not runtime_log.is_fatal(line), self._held)
            self._held = [line for line in said if not runtime_log.is_own(line)]
            self._show()
        if status >= 0:
            return status
        number = -status
        if number == signal.SIGKILL:
            _write(f"error: this host was killed, as by a full memory; {ON}\n")
        elif number not in PASSED:
            _write(f"error: this host crashed ({signal.Signals(number).name})\n")
        return 128 + number


def _write(text: str) -> None:
    """Writes to our own standard error; what cannot be written, as on a full disk, is lost.

    The host must not feel it: a pipe that nobody reads on would block it.
    """
    left = text.encode(errors="backslashreplace")
    try:
        while left:
            left = left[os.write(2, left) :]
    except OSError:
        return
