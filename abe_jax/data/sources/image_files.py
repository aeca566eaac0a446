"""Image files of the user's own, read safely whatever they turn out to be."""

import math
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import overload

MOST_BYTES = 2**29  # of one file: memory is not taken for more


class Files(Sequence[bytes]):
    """The bytes of files below a base, each read when asked for; thread-safe.

    What cannot be read, is no plain file (a pipe would never end) or has more than MOST_BYTES is
    empty: it counts as an unreadable image and does not end a run.
    """

    def __init__(self, base: pathlib.Path, paths: Sequence[str]):
        self._base, self._paths = base, paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "Files": ...

    def __getitem__(self, index: int | slice) -> "bytes | Files":
        if isinstance(index, slice):
            return Files(self._base, self._paths[index])
        return read(self._base / self._paths[index])


def read(path: pathlib.Path) -> bytes:
    """The bytes of one file as `Files` gives them."""
    return _read(path, MOST_BYTES, MOST_BYTES)


def first_bytes(path: str, count: int) -> bytes:
    """The first bytes of a file, or all of a shorter one; b"" of what cannot be read."""
    return _read(path, count)


def _read(path: str | pathlib.Path, count: int, largest: float = math.inf) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
                return b""
            return file.read(count)
    except OSError:
        return b""


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a pipe would wait for a writer
