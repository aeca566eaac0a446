"""How files are written: whole or not at all, on disk once there, one process at a time."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from abe_jax.errors import UserError, nearest


def require(path: Path, what: str) -> None:
    """Raises UserError unless a file is there; the line names the file most like it beside it."""
    if path.is_file():
        return
    beside = path.parent.glob(f"*{path.suffix}") if path.parent.is_dir() else ()
    siblings = [str(sibling) for sibling in beside]
    raise UserError(
        f"{path}: no such {what}{f'; {nearest(str(path), siblings)}' if siblings else ''}"
    )


def row_of(name: str | os.PathLike[str]) -> tuple[Path, str]:
    """The config file that a name stands for, and its row: `FILE.py:ROW`, or "" of `FILE.py`."""
    text = os.fspath(name)
    file, colon, row = text.rpartition(".py:")
    return (Path(f"{file}.py"), row) if colon and not Path(text).is_file() else (Path(text), "")


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose `~` or `~name` is a user's home folder.

    Raises:
        UserError: there is no such user, or none is known to be this process's.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = Path(path).parts[0]
        raise UserError(
            f"{os.fspath(path)}: {name} is no user's home folder here; write the whole path, or "
            f"./{name} for what is called so"
        ) from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that becomes `path` at the end, when it is on disk; without an end, nothing changes.

    It is written beside its place under a name that starts with a dot, which readers of the folder
    pass over, and is deleted where the writing fails.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    sync(path.parent)


def write(path: Path, content: bytes | str) -> None:
    """Writes a whole file as in `writing`; text as UTF-8."""
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Waits until a file or a folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(path: Path, patience: float | None = None) -> Iterator[bool]:
    """Holds the lock file `path`, which is made; False where another process keeps it.

    A lock of the kernel's goes with its process, however that ends: none is ever left behind.

    Args:
        path: the lock file, in a folder that exists; or a folder, which is locked itself.
        patience: seconds to wait for the other process; None: as long as it takes.
    """
    made = os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT
    handle = os.open(path, made, 0o666)
    try:
        yield _acquired(handle, patience)
    finally:
        os.close(handle)


def _acquired(handle: int, patience: float | None) -> bool:
    if patience is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
