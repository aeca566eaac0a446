"""A file of an index, read only where it lies in the index's own folder."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

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
