"""How prepared data is written: by one process at a time, each file whole or not at all."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from abe_jax.errors import UserError


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Makes a folder that no other process writes to meanwhile.

    Raises:
        UserError: it cannot be written.
    """
    # A lock of the kernel's goes with its process, however that ends: none is ever left behind.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise UserError(
            f"cannot write prepared data to {folder} ({error.strerror}): "
            "set config.data.root or $ABE_JAX_DATA to a folder that can be written"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace(path: pathlib.Path, content: bytes) -> None:
    """Writes a file beside its place, to the disk, and then puts it there."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
