"""How a command stops early: with one line, or without a word, and on all hosts of a job.

A host that stops says so in the key-value store of JAX's coordination service, where every host
looks twice a second: the others, which may wait in a collective operation that will never come,
then end as well, each with a line of its own.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from abe_jax.data.sources.csv_file import shown
from abe_jax.hosts import GO_ON, Lost, is_loss, joining, marks
from abe_jax.hosts.supervisor import ON

STALLED = 3600.0  # seconds without progress on any host, after which all end, unless told otherwise
MARK = "abe_jax/mark"  # how far each host has come, by its number
STOPPED = "abe_jax/stopped"  # a key for each host, by its number
LOOK = 0.5  # seconds between two looks
GRACE = 2.0  # seconds for a host to say its own line, which tells more than that others stopped
PATIENCE = 10.0  # seconds that a host which stops waits for the others to stop as well
TOLD = 5.0  # seconds for those who want to know the line

told: list[Callable[[str], None]] = []  # who wants to know the line by which this process ends
_over = threading.Event()  # this host is done: what others do no longer matters to it
_speaking = threading.Lock()  # held by the thread that says why this host ends


def refuse(line: str, status: int = 2) -> NoReturn:
    """Says what is wrong in one line, on stderr, and ends with a status.

    A name in it may hold what ends a line or moves the cursor: that is shown as escapes.
    """
    if not _speaking.acquire(blocking=False):
        _over.wait()  # for ever: the other thread ends the process
    with contextlib.suppress(OSError, ValueError):  # nobody reads on, or the disk is full
        print(f"error: {shown(line)}", file=sys.stderr, flush=True)
        flush()
    # Beside the rest: a disk that answers no more must not keep this host from ending.
    telling = threading.Thread(target=_tell, args=(line,), daemon=True)
    telling.start()
    _tell_others(status)
    telling.join(TOLD)
    # At once: what Orbax abandoned in a failed write would complain behind our line, and JAX would
    # wait for the other hosts.
    os._exit(status)


def _tell(line: str) -> None:
    for tell in told:
        tell(line)


def leave_quietly() -> NoReturn:
    """Ends as programs do whose reader has gone: without a word, with SIGPIPE's status."""
    _tell_others(128 + signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)


def interrupted() -> NoReturn:
    """Ends after Ctrl-C."""
    if _job() is None:
        sys.exit(130)
    _tell_others(130)
    os._exit(130)


def flush() -> None:
    """Writes out what was printed, while it can still be seen whether there is a reader."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def over() -> None:
    """This host has done its part."""
    _over.set()


def failed(error: Exception) -> None:
    """Inside an `except`: ends this host of several, with one line where another stopped before.

    With one host, returns, unless it is one that could not join the others.
    """
    alone, lost = _job() is None, isinstance(error, Lost) or is_loss(error)
    if alone and not lost:
        return
    # Whoever stopped has said so: the watching thread ends this host. Of a host that is gone JAX's
    # runtime hears by its heartbeats, ends this process and says which it was.
    verdict = 0.0 if isinstance(error, Lost) else joining.HEARTBEAT + 10.0 if lost else 2 * LOOK
    time.sleep(0.0 if alone else GRACE + verdict)
    if lost:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        line = first if isinstance(error, Lost) else f"lost touch with the other hosts ({first})"
        refuse(f"{line}; {ON}", GO_ON)
    if not _speaking.acquire(blocking=False):
        _over.wait()
    traceback.print_exc()
    _tell_others(1)
    os._exit(1)


def watch_others(stalled: float = STALLED) -> None:
    """From now on ends this process when another host has stopped, or none makes progress.

    Args:
        stalled: the seconds without progress on any host that are too many.
    """
    threading.Thread(target=_watch, args=(stalled,), daemon=True, name="other hosts").start()


def _watch(stalled: float) -> None:
    job, lost, look, told, still = _job(), 0, 0, "", marks.Standstill()
    if job is None:
        return
    store, own = job.client, job.process_id
    every = max(1, round(min(10.0, stalled / 10) / LOOK))  # looks between two at all hosts' marks
    while lost < 6 and not _over.wait(LOOK):
        mark, look = marks.told(), look + 1
        try:
            if mark != told:
                store.key_value_set(f"{MARK}/{own}", mark, allow_overwrite=True)
                told = mark
            stopped = {h: how for h, how in _told(store, STOPPED).items() if h != own}
            if look % every == 0:
                still.note(_told(store, MARK), time.monotonic())
            lost = 0
        except Exception:  # of the service's own kinds
            lost += 1
            continue
        # One that says so first has stopped: the others make no progress in the seconds between.
        nearly = min(GRACE, stalled / 2) if stopped else 0.0
        if still.told and still.seconds + nearly > stalled:
            refuse(f"{marks.late(still.told, stalled)}; {ON}", GO_ON)
        if stopped and not _over.wait(GRACE):
            host, how = min(stopped.items())
            refuse(*_following(host, int(how)))
    if not _over.is_set():
        refuse(f"the first host is gone; {ON}", GO_ON)


def _following(host: int, status: int) -> tuple[str, int]:
    """The line and the status of a host that ends since another one ended with a status.

    A mistake and a fault stay what they are. A reader that is gone, as of a connection that was
    lost, is neither: another try can do better.
    """
    line = f"host {host} stopped; what it printed says why"
    if status in (GO_ON, 128 + signal.SIGPIPE):
        return f"{line}; {ON}", GO_ON
    return line, status


def _tell_others(status: int) -> None:
    """Says to the other hosts that this one stops, and waits until they stop as well."""
    job = _job()
    if job is None or _over.is_set():
        return
    store, end = job.client, time.monotonic() + PATIENCE
    _set(store, f"{STOPPED}/{job.process_id}", str(status))
    while time.monotonic() < end:
        try:
            stopped = _told(store, STOPPED)
        except Exception:  # the first host, which keeps the store, has left before
            return
        if len(stopped) == job.num_processes:
            break
        time.sleep(LOOK / 5)
    if job.process_id == 0:  # without the store JAX's own threads abort the others with a trace
        time.sleep(2 * LOOK)


def _job() -> Any:
    """JAX's state of the job that this process joined, which has no public name; None: no job."""
    module = sys.modules.get("jax._src.distributed")
    return module.global_state if module and module.global_state.client else None


def _told(store: Any, key: str) -> dict[int, str]:
    """What each host told under a key, by its number."""
    found = store.key_value_dir_get(key + "/")
    return {int(name.rsplit("/", 1)[1]): value for name, value in found}


def _set(store: Any, key: str, value: str) -> None:
    try:
        store.key_value_set(key, value)
    except Exception:  # it was said before, or the first host is gone
        return
