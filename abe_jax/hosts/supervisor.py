"""The process beside each host of a job that says in one line how the host ended.

The host is a child of it, forked before anything heavy is imported. Its standard error comes
through here: what JAX's runtime writes before it aborts a process becomes one line, and everything
else passes as it is. A signal passes to the host; a host that was killed, say by a full memory, is
told of as well.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from abe_jax.hosts import runtime_log
from abe_jax.hosts.lost import GO_ON

PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
HELD = 10.0  # seconds that lines of the runtime are held back: where it aborts, it does so at once
ON = "the same command goes on from the last checkpoint"
TOLD = 5.0  # seconds for who wants to know why the host ended
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies


def supervise(wait: float, told: Callable[[int, str], None] = lambda *_: None) -> None:
    """Forks: returns in the child, the host; the parent stays here and ends with its status.

    Args:
        wait: the seconds that the start waits for late hosts, for the line that says so.
        told: called in the parent with the host's process id and the line, where the host could not
            say itself why it ended.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    own, (reads, writes) = os.getpid(), os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        _Supervisor(child, reads, wait, told).run()
    os.close(reads)
    os.dup2(writes, 2)
    os.close(writes)
    os.setpgid(0, 0)  # Ctrl-C comes once, through the parent
    _die_with(own)


def _die_with(parent: int) -> None:
    """A parent that is killed takes its host along; elsewhere than on Linux the host stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(GO_ON)


class _Supervisor:
    """Relays a host's errors and waits for its end."""

    def __init__(self, child: int, reads: int, wait: float, told: Callable[[int, str], None]):
        self._child, self._reads, self._wait, self._told = child, reads, wait, told
        self._held: list[str] = []
        self._since = 0.0
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
            if not self._held and not runtime_log.is_own(line):
                _write(line)
                return
            if not self._held:
                self._since = time.monotonic()
            self._held.append(line)

    def _let_go(self) -> None:
        """Lines that no abort followed were no last words."""
        while True:
            time.sleep(HELD / 10)
            with self._lock:
                if self._held and time.monotonic() - self._since > HELD:
                    self._show()

    def _show(self) -> None:
        _write("".join(self._held))
        self._held.clear()

    def _ended(self, status: int) -> int:
        """The status to end with; says the line that is missing."""
        with self._lock:
            text = "".join(self._held)
            if runtime_log.is_fatal(text):
                self._say(f"{runtime_log.reason(text, self._wait)}; {ON}")
                return GO_ON
            # What was said by others in between; the runtime's own warnings explain nothing.
            self._held = [line for line in self._held if not runtime_log.is_own(line)]
            self._show()
        if status >= 0:
            return status
        number = -status
        if number == signal.SIGKILL:
            self._say(f"this host was killed, as by a full memory; {ON}")
        elif number not in PASSED:
            self._say(f"this host crashed ({signal.Signals(number).name})")
        return 128 + number

    def _say(self, line: str) -> None:
        """Says the line; beside, who wants to know it is told: a disk may answer no more."""
        _write(f"error: {line}\n")
        telling = threading.Thread(target=self._told, args=(self._child, line), daemon=True)
        telling.start()
        telling.join(TOLD)


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        return
