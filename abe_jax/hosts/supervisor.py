"""The process beside each host of a job that says in one line how the host ended.

The host is a child of it, forked before anything heavy is imported. Its standard error comes
through here: what JAX's runtime writes before it aborts a process becomes one line, and everything
else passes as it is. A signal passes to the host; a host that was killed, say for its memory, is
told of as well.
"""

import ctypes
import itertools
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from abe_jax.hosts import runtime_log
from abe_jax.hosts.lost import GO_ON

PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
BUFFERED = (
    10.0  # seconds that lines of the runtime are held back: where it aborts, it does so at once
)
ON = "the same command goes on from the last checkpoint"
# Seconds in which a host that has said why it ends waits for the others: the runtime may abort it.
STILL_SAID = 30.0
TOLD = 5.0  # seconds for who wants to know why the host ended
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent dies
_ENDS = re.compile(rb"(?<=[\n\r])")  # of a line; that of a progress bar ends with \r, or not at all
_WORDS = b"error: "  # begins the line with which a host ends


def supervise(wait: float, told: Callable[[int, str], None] = lambda *_: None) -> None:
    """Forks: returns in the child, the host; the parent stays here and ends with its status.

    Args:
        wait: the seconds that the start waits for late hosts, for the line that says so.
        told: called in the parent with the host's process id and the line, where the host could not
            say itself why it ended.
    """
    _open_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else a child that has ended leaves no status
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    own, (reads, writes) = os.getpid(), os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        _Supervisor(child, reads, wait, told).run()
    os.close(reads)
    os.dup2(writes, 2)
    os.close(writes)
    if sys.stderr is None:  # as Python has it of a closed stream: our pipe takes its place
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.setpgid(0, 0)  # Ctrl-C comes once, through the parent
    _without_core()
    _die_with(own)


def _open_streams() -> None:
    """A standard stream that was closed becomes an empty one: no pipe may take its number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


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

    def __init__(self, child: int, reads: int, wait: float, told: Callable[[int, str], None]):
        self._child, self._reads, self._wait, self._told = child, reads, wait, told
        self._buffered: list[bytes] = []  # lines of the runtime and what came behind them
        self._since = 0.0
        self._begun = b""  # a line without its end that may become one of the runtime's
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
        while piece := os.read(self._reads, 1 << 16):  # a bar's part of a line as well, at once
            with self._lock:
                *lines, self._begun = _ENDS.split(self._begun + piece)
                for line in lines:
                    self._take(line)
                self._show_begun()

    def _take(self, line: bytes) -> None:
        if line.startswith(_WORDS):  # why the host ends, in its own words
            self._said = (GO_ON if line.rstrip().endswith(ON.encode()) else 2, time.monotonic())
            _write(line)
            return
        own = runtime_log.is_own(_text(line))
        if own:
            self._since = time.monotonic()
        if own or self._buffered:
            self._buffered.append(line)
        else:
            _write(line)

    def _show_begun(self) -> None:
        begun = self._begun
        waits = begun.startswith(_WORDS) or _WORDS.startswith(begun)
        if not (waits or self._buffered or runtime_log.may_begin(_text(begun))):
            self._begun = b""
            _write(begun)

    def _let_go(self) -> None:
        """Lines that no abort followed were no last words; an abort itself may take its time."""
        while True:
            time.sleep(BUFFERED / 10)
            with self._lock:
                fatal = runtime_log.is_fatal(_text(*self._buffered))
                if self._buffered and not fatal and time.monotonic() - self._since > BUFFERED:
                    self._show()
                    self._show_begun()

    def _show(self) -> None:
        _write(b"".join(self._buffered))
        self._buffered.clear()

    def _ended(self, status: int) -> int:
        """The status to end with; says the line that is missing."""
        with self._lock:
            begun, self._begun = self._begun, b""
            if begun:
                self._take(begun)
            text = _text(*self._buffered)
            if runtime_log.is_fatal(text) and status < 0 and -status not in PASSED:
                own, when = self._said
                if own and time.monotonic() - when < STILL_SAID:
                    return own
                self._say(f"{runtime_log.reason(text, self._wait)}; {ON}")
                return GO_ON
            # What was said by others in between; the runtime's own warnings explain nothing, and of
            # a host that ended by itself neither do its last words.
            said = itertools.takewhile(
                lambda line: not runtime_log.is_fatal(_text(line)), self._buffered
            )
            self._buffered = [line for line in said if not runtime_log.is_own(_text(line))]
            self._show()
        if status >= 0:
            return status
        number = -status
        if number == signal.SIGKILL:
            self._say(f"this host was killed, perhaps because memory ran out; {ON}")
        elif number not in PASSED:
            self._say(f"this host crashed ({signal.Signals(number).name})")
        return 128 + number

    def _say(self, line: str) -> None:
        """Says the line; beside, who wants to know it is told: a disk may answer no more."""
        _write(f"error: {line}\n".encode())
        telling = threading.Thread(target=self._told, args=(self._child, line), daemon=True)
        telling.start()
        telling.join(TOLD)


def _text(*lines: bytes) -> str:
    return b"".join(lines).decode(errors="backslashreplace")


def _write(content: bytes) -> None:
    """Writes to our own standard error; what cannot be written, as on a full disk, is lost.

    The host must not feel it: a pipe that nobody reads on would block it.
    """
    try:
        while content:
            content = content[os.write(2, content) :]
    except OSError:
        return
