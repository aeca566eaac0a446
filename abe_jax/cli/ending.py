"""How a command stops early: with one line, or without a word, and on all hosts of a job.

A host that stops says so in the key-value store of JAX's coordination service, where every host
looks twice a second: the others, which may wait in a collective operation that will never come,
then end as well, each with a line of its own.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from abe_jax.data.sources.csv_file import shown

STOPPED = "abe_jax/stopped"  # a key for each host, by its number
LOOK = 0.5  # seconds between two looks
GRACE = 2.0  # seconds for a host to say its own line, which tells more than that others stopped
PATIENCE = 10.0  # seconds that a host which stops waits for the others to stop as well

told: list[Callable[[str], None]] = []  # who wants to know the line by which this process ends
_over = threading.Event()  # this host is done: what others do no longer matters to it
_speaking = threading.Lock()  # held by the thread that says why this host ends


def refuse(line: str) -> NoReturn:
    """Says what is wrong in one line, on stderr, and ends with status 2.

    A name in it may hold what ends a line or moves the cursor: that is shown as escapes.
    """
    if not _speaking.acquire(blocking=False):
        _over.wait()  # for ever: the other thread ends the process
    try:
        print(f"error: {shown(line)}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    for tell in told:
        tell(line)
    _tell_others()
    # At once: what Orbax abandoned in a failed write would complain behind our line, and JAX would
    # wait for the other hosts.
    os._exit(2)


def leave_quietly() -> NoReturn:
    """Ends as programs do whose reader has gone: without a word, with SIGPIPE's status."""
    _tell_others()
    os._exit(128 + signal.SIGPIPE)


def interrupted() -> NoReturn:
    """Ends after Ctrl-C."""
    if _job() is None:
        sys.exit(130)
    _tell_others()
    os._exit(130)


def flush() -> None:
    """Writes out what was printed, while it can still be seen whether there is a reader."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def over() -> None:
    """This host has done its part."""
    _over.set()


def failed() -> None:
    """Inside an `except`: ends this host of several, with one line where another stopped before.

    With one host, returns.
    """
    if _job() is None:
        return
    time.sleep(GRACE + 2 * LOOK)  # whoever stopped has said so: the watching thread ends this host
    if not _speaking.acquire(blocking=False):
        _over.wait()
    traceback.print_exc()
    _tell_others()
    os._exit(1)


def watch_others() -> None:
    """From now on ends this process when another host of the job has stopped or is gone."""
    threading.Thread(target=_watch, daemon=True, name="other hosts").start()


def _watch() -> None:
    job, lost = _job(), 0
    if job is None:
        return
    store, own = job.client, job.process_id
    while lost < 6 and not _over.wait(LOOK):
        try:
            stopped = [host for host in _hosts(store, STOPPED) if host != own]
            lost = 0
        except Exception:  # of the service's own kinds
            lost += 1
            continue
        if stopped and not _over.wait(GRACE):
            refuse(f"host {stopped[0]} stopped; what it printed says why")
    if not _over.is_set():
        refuse("the first host is gone")


def _tell_others() -> None:
    """Says to the other hosts that this one stops, and waits until they stop as well."""
    job = _job()
    if job is None or _over.is_set():
        return
    store, end = job.client, time.monotonic() + PATIENCE
    _set(store, f"{STOPPED}/{job.process_id}")
    while time.monotonic() < end:
        try:
            stopped = _hosts(store, STOPPED)
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


def _hosts(store: Any, key: str) -> list[int]:
    return sorted(int(name.rsplit("/", 1)[1]) for name, _ in store.key_value_dir_get(key + "/"))


def _set(store: Any, key: str) -> None:
    try:
        store.key_value_set(key, "")
    except Exception:  # it was said before, or the first host is gone
        return
