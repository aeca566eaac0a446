"""Processes that measure, and what asks them: a line of JSON each way.

A program on a GPU that hangs, in a compiler as a rule, can only be stopped with its process. So
arms run in workers, one for each framework, and who asks waits no longer than it said.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any


class WorkerError(Exception):
    """What a worker was asked for is not there; the text says why, in one line."""


class LateError(WorkerError):
    """A worker did not answer in time. It is ended, with all that it held."""


class Clock:
    """How much time is left of a whole measurement."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._clock, self._end = clock, clock() + seconds

    def left(self) -> float:
        """Seconds; 0 when they have passed."""
        return max(0.0, self._end - self._clock())

    def limit(self, seconds: float) -> float:
        """So many seconds, or those that are left.

        Raises:
            WorkerError: none is left.
        """
        if self.left() <= 0:
            raise WorkerError("not run: the time given was over")
        return min(seconds, self.left())


class Worker:
    """A Python script of its own process, asked by `ask`.

    Args:
        script: calls `serve`.
        environment: of the process, in place of this one's.
        log: what the process writes of its own accord goes to its end.
        options: of the script's command line.
    """

    def __init__(self, script: Path, environment: Mapping[str, str], log: Path, *options: str):
        with log.open("ab") as messages:
            self._process = subprocess.Popen(
                [sys.executable, str(script), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                env=dict(environment),
                start_new_session=True,  # so that its own processes, such as compilers, end with it
                text=True,
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._ended = False

    def _listen(self) -> None:
        for line in _pipe(self._process.stdout):
            self._answers.put(line)
        self._answers.put("")

    def ask(self, command: str, limit: float, /, **arguments: Any) -> Any:
        """What `command` of the script gives.

        Raises:
            WorkerError: it raised, or its process ended.
            LateError: no answer within `limit` seconds; the process is ended.
        """
        self.send(command, **arguments)
        return self.receive(limit)

    def send(self, command: str, /, **arguments: Any) -> None:
        """Asks without waiting; `receive` gives the answer."""
        asked = json.dumps({"command": command, "arguments": arguments})
        with contextlib.suppress(BrokenPipeError, ValueError):  # `receive` tells of the end
            print(asked, file=_pipe(self._process.stdin), flush=True)

    def receive(self, seconds: float) -> Any:
        """The next answer; errors of `ask`."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.end()
            raise LateError(f"no answer within {seconds:.0f} s") from None
        if not line:
            self._answers.put("")
            how = self._how()
            self.end()
            raise WorkerError(f"its process {how}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return not self._ended and self._process.poll() is None

    def pause(self) -> None:
        """Lets the process and those that it started stand still until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Lets the process end by itself, and ends it where it does not."""
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self.end()

    def end(self) -> None:
        """Ends the process and those that it started.

        One that a driver holds may outlive its signal for a while; nobody waits for that.
        """
        if self._ended:
            return
        self._ended = True
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        with contextlib.suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        self._listener.join(timeout=10)
        if not self._listener.is_alive():
            _pipe(self._process.stdout).close()

    def _how(self) -> str:
        """How the process ended, which it has, or is about to."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "says no more"
        if code < 0:
            return f"was ended by signal {-code}"
        return f"ended with {code}"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def serve(commands: Mapping[str, Callable[..., Any]]) -> None:
    """Answers what comes on standard input, until that ends.

    Answers alone go to standard output; what anything else prints there goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"answer": commands[asked["command"]](**asked["arguments"])}
        except Exception as error:  # whatever a compiler or a driver raises is an arm's result
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        print(json.dumps(answer), file=answers, flush=True)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # all of a worker's are pipes
    return stream
