"""A file of an index through a memory map, only at the length that it was written with."""

import mmap
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from abe_jax.errors import UserError
from abe_jax.index.own_file import opened


class MappedFile:
    """A file's bytes through a memory map, which outlives the file's name.

    A process that touches a page behind the end of a file is killed (SIGBUS), and nothing can catch
    that. So `bytes` asks for the file's length first: one that was cut is an error like any other.
    Only a cut in the moment between that check and the use still ends the process; an index is
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
