"""How status.json ends; without JAX, which the process beside a host never imports."""

import contextlib
import datetime
import json
import socket
import time
from typing import Any

from abe_jax import files
from abe_jax.training.run_folder import RunFolder

ENDS = ("finished", "stopped", "failed")
LONGEST = 300  # characters of the line


def write_end(folder: RunFolder, known: dict[str, Any], state: str, line: str | None) -> None:
    """Writes status.json as it was known, with this end."""
    own = {**end(state, line), "written": now()}
    files.write(folder.status, json.dumps({**known, **own}, indent=1) + "\n")


def end(state: str, line: str | None) -> dict[str, Any]:
    """The fields of an end: one of `ENDS`, and the line that was said."""
    return {"state": state, "line": line and line[:LONGEST], "since": now()}


def fallen(folder: RunFolder, pid: int, line: str) -> None:
    """Says why a training's process of this machine was ended before it could say so itself.

    Only where that process wrote the file last: of several hosts the first alone does. A file that
    cannot be read or written stays.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(folder.status.read_text())
        own = (known["pid"], known["host"]) == (pid, socket.gethostname())
        if own and known["state"] not in ("finished", "stopped"):
            write_end(folder, known, "failed", line)


def now() -> str:
    """The time, as `utc` writes it."""
    return utc(time.time())


def utc(seconds: float) -> str:
    """A time as 2026-11-28T17:00:00Z."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
