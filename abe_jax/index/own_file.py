"""A file of an index: only where it lies in the index's own folder, and only at its length."""

import contextlib
import errno
import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from abe_jax.errors import UserError

# Not blocking, or a pipe that nobody writes to would never open.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABOVE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


def opened(folder: Path, *names: str) -> BinaryIO:
    """The regular file `folder/names...`, for reading; no link below `folder` is followed.

    `folder` itself may be reached through links. Raises FileNotFoundError where it is gone,
    UserError where it is, or lies behind, a link, is no regular file or cannot be read.
    """
    path = folder.joinpath(*names)
    try:
        handle = _handle(folder, names)
    except (FileNotFoundError, NotADirectoryError, OSError) as error:
        _require_no_link(folder, names)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(f"{path} cannot be read: it is no regular file")
    return os.fdopen(handle, "rb")


def require_own_folder(folder: Path, name: str) -> None:
    """Raises UserError where the folder `name` of the index in `folder` is a link."""
    _require_no_link(folder, (name,))


def _handle(folder: Path, names: tuple[str, ...]) -> int:
    """The open file; each name is looked up in the folder opened before it, so no swap helps."""
    with contextlib.ExitStack() as stack:
        above = os.open(folder, _ABOVE)
        stack.callback(os.close, above)
        for name in names[:-1]:
            above = os.open(name, _ABOVE | os.O_NOFOLLOW, dir_fd=above)
            stack.callback(os.close, above)
        return os.open(names[-1], _FILE, dir_fd=above)


def _require_no_link(folder: Path, names: tuple[str, ...]) -> None:
    path = folder
    for name in names:
        path = path / name
        if path.is_symlink():
            raise UserError(
                f"{path} is a symbolic link, and an index reads only what lies in its own folder: "
                "put what it points to in its place"
            )


class MappedFile:
    """A file's bytes through a memory map, which outlives the file's name.

    A process that touches a page behind the end of a file is killed (SIGBUS), and nothing can catch
    that. So `bytes` asks for the file's length first: one that was cut is an error like any other.
    Only who cuts it in the moment between that and the use still ends the process; an index is
    never cut by its own writers.
    """

    def __init__(self, folder: Path, *names: str, size: int):
        """Maps `folder/names...`; raises what `opened` does, UserError for another length."""
        self.path, self._size = folder.joinpath(*names), size
        with opened(folder, *names) as file:
            self._require_length(os.fstat(file.fileno()).st_size)
            try:
                self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # cut in this moment, or no memory
                raise UserError(f"{self.path} cannot be read: {error}") from error
        self._bytes = np.frombuffer(self._map, np.uint8)

    @property
    def bytes(self) -> UInt8[np.ndarray, " bytes"]:
        """All of them. Raises UserError where the file has another length by now."""
        self.check()
        return self._bytes

    def check(self) -> None:
        """Raises UserError where the file has another length by now."""
        try:
            size = self._map.size()
        except OSError as error:  # of a network's file system
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        self._require_length(size)

    def _require_length(self, size: int) -> None:
        if size != self._size or not size:
            raise UserError(f"{self.path} is damaged: {size} bytes of {self._size}")
