"""status.json: what a training is doing, for programs that watch many of them.

Written whole at every change of state, at most once a second, and every `BEAT` seconds besides, by
a thread of its own, so that no step waits for a disk. From its two times a watcher tells three
kinds of silence apart:

    written is more than three heartbeats old   the process is gone, or its machine stands still
    written is fresh, stepped is old            it hangs: the other steps took `seconds_per_step`
    both are fresh                              it runs, however slowly

A state is one of `STATES`; behind one of the last three, the ends, the file is not written again.
"""

import collections
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import jax

from abe_jax import files, hosts
from abe_jax.errors import UserError
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.ended import ENDS, end, now, utc, write_end
from abe_jax.training.run_folder import RunFolder

STATES = ("starting", "compiling", "training", "evaluating", "saving", *ENDS)
BEAT = 10.0  # seconds between two writings while nothing changes
APART = 1.0  # seconds between two writings at least; the last one waits for none


class Status:
    """The file of one training, from `with` to its end; outside of it nothing is written.

    Of several hosts the first alone writes. A file that cannot be written stops no training: that
    is said once.
    """

    def __init__(self, folder: RunFolder, steps: int, batch: int, say: Callable[[str], None]):
        self._folder, self._say, self._batch = folder, say, batch
        # Results as Any: the types of JAX leave out `is_ready`.
        self._handed: collections.deque[tuple[int, Any]] = collections.deque()
        self._changed, self._over = threading.Event(), threading.Event()
        self._ended: dict[str, Any] = {}  # the end, which stands over whatever another thread says
        self._settling = threading.Lock()  # so that steps are counted in their order
        self._writing = threading.Lock()  # by the thread of the beats or by one that ends all
        self._beats = threading.Thread(target=self._beat, daemon=True, name="status.json")
        self._warned = False
        self._stops: str | None = None
        self._known: dict[str, Any] = {
            "version": 1,
            "state": "starting",
            "line": None,  # why it stopped or failed, as on the error stream
            "step": 0,  # steps whose results are there; more may have been handed to the devices
            "of": steps,
            "images_per_second": None,  # as last measured, over all hosts
            "seconds_per_step": None,  # of that rate
            "checkpoint": None,  # the last step that the run can go on from
            "checkpoint_written": None,
            "host": socket.gethostname(),  # of the process that writes this
            "pid": os.getpid(),
            "processes": jax.process_count(),
            "devices": jax.device_count(),
            "platform": jax.devices()[0].platform,
            "heartbeat_seconds": BEAT,
            "started": now(),
            "since": now(),  # in this state
            "stepped": None,  # when the last step was seen to be done
            "written": None,
        }

    def __enter__(self) -> "Status":
        """Writes the first state and begins to beat."""
        if hosts.is_first():
            for left in self._folder.path.glob(f".{self._folder.status.name}.*.partial"):
                left.unlink(missing_ok=True)  # of a process that was killed while it wrote
            self._write()
            self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Writes the end, unless it is written: finished, or what went wrong."""
        if isinstance(error, KeyboardInterrupt):
            self._end("stopped", "interrupted")
        elif error is not None:
            self.failed(words(error))
        elif not self._over.is_set():
            self._end("finished", None)

    def enter(self, state: str) -> None:
        """From now on the training is in this state."""
        if state != self._known["state"] and not self._over.is_set():
            self._known |= {"state": state, "since": now()}
            self._changed.set()

    def goes_on(self, step: int) -> None:
        """So many steps were taken by earlier processes."""
        self._known["step"] = step

    def handed(self, step: int, result: jax.Array) -> None:
        """A step has been handed to the devices; it is done when `result` is there."""
        if self._beats.is_alive():
            self._handed.append((step, result))
            self._settle()

    def measured(self, rate: float) -> None:
        """The rate, in images per second."""
        self._known |= {
            "images_per_second": rate,
            "seconds_per_step": self._batch / max(rate, 1e-9),
        }

    def stops(self, line: str) -> None:
        """The line to end with: it was asked to stop, and is still writing."""
        self._stops = line

    def stopped(self) -> None:
        """It has ended as it was asked to, and everything is written."""
        self._end("stopped", self._stops)

    def failed(self, line: str) -> None:
        """It ends by an error, at once; of two such lines the later one is better informed."""
        if self._ended.get("state") not in ("finished", "stopped"):
            self._end("failed", line)

    def _end(self, state: str, line: str | None) -> None:
        began = self._beats.is_alive() or self._over.is_set()
        self._ended = end(state, line)
        self._over.set()
        self._changed.set()
        if began and hosts.is_first():
            self._write(last=True)

    def _beat(self) -> None:
        while not self._over.wait(APART):
            self._changed.wait(BEAT - APART)
            self._changed.clear()
            if not self._over.is_set():
                self._write()

    def _settle(self) -> None:
        """Counts the steps that are done; both threads may call it at once."""
        with self._settling:
            while self._handed and self._handed[0][1].is_ready():
                step, _ = self._handed.popleft()
                self._known |= {"step": max(step, self._known["step"]), "stepped": now()}

    def _write(self, *, last: bool = False) -> None:
        self._settle()
        # Another thread may be held up by a disk that answers no more: the end waits no longer.
        acquired = self._writing.acquire(timeout=BEAT)
        try:
            if self._over.is_set() and not last:
                return  # after the end the folder may be another process's
            self._known |= {**_checkpoint(self._folder), "written": now()}
            said = {**self._known, **self._ended}
            files.write(self._folder.status, json.dumps(said, indent=1) + "\n")
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._say(f"warning: {self._folder.status}: cannot be written ({error.strerror})")
        finally:
            if acquired:
                self._writing.release()


def note(folder: RunFolder, state: str, line: str | None) -> None:
    """Says in status.json how a job ended that never came to its training.

    Only of a run that has one and is not finished; not while another training holds the folder.
    """
    if not hosts.is_first():
        return
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, UserError):
        known = json.loads(folder.status.read_text())
        if known["state"] != "finished":
            with folder.alone():
                write_end(folder, known, state, line)


def words(error: BaseException) -> str:
    """One line that says what went wrong, as a command says it."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    said = str(error).strip().splitlines()  # JAX adds notes of its own to a traceback
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _checkpoint(folder: RunFolder) -> dict[str, Any]:
    """The last step that lies whole in the folder, and when it was written."""
    try:
        saved = Checkpoints.steps_in(folder.latest)[-1]
        written = (folder.latest / str(saved)).stat().st_mtime
    except (IndexError, FileNotFoundError):  # none yet, or replaced in this moment
        return {}
    return {"checkpoint": saved, "checkpoint_written": utc(written)}
