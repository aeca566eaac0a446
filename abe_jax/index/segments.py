"""Segments: files of vectors, ids and rows, written once, then only read, through memory maps."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64, Shaped, UInt8

from abe_jax.errors import UserError
from abe_jax.index.manifest import ENDINGS, FOLDER, STORAGES, File, Segment, Spec

HEADER = 128  # bytes of a .npy file before its numbers


class Row(NamedTuple):
    """What is known of one image beside its vector."""

    path: str
    label: str = ""
    metadata: Mapping[str, str] = MappingProxyType({})


def line(id_: int, row: Row) -> bytes:
    """A row's line of rows.jsonl: ASCII, so that any path that the system knows comes back."""
    content: dict[str, object] = {"id": id_, "path": row.path}
    if row.label:
        content["label"] = row.label
    if row.metadata:
        content["metadata"] = dict(row.metadata)
    return json.dumps(content).encode("ascii") + b"\n"


class Writer:
    """The three files of a new segment, filled block by block."""

    def __init__(self, folder: Path, name: str, spec: Spec) -> None:
        self.count = 0
        self._spec = spec
        self._paths = [folder / FOLDER / f"{name}.{ending}" for ending in ENDINGS]
        self._files: list[BinaryIO] = []
        try:
            for path in self._paths:
                self._files.append(path.open("xb"))
            for file in self._files[:2]:
                file.write(b"\0" * HEADER)
        except BaseException:
            self.close()
            raise

    def append(
        self,
        stored: Shaped[np.ndarray, "n w"],
        ids: Int[np.ndarray, " n"],
        lines: Sequence[bytes],
    ) -> None:
        """Writes rows as they are stored; ids rise from block to block."""
        kind = STORAGES[self._spec.storage]
        self._files[0].write(np.ascontiguousarray(stored, kind).data)
        self._files[1].write(np.ascontiguousarray(ids, "<i8").data)
        self._files[2].write(b"".join(lines))
        self.count += len(ids)

    def done(self) -> Segment:
        """Closes the files, their headers now telling how many rows there are, and sums them up."""
        shapes = (self.count, self._spec.width), (self.count,)
        kinds = STORAGES[self._spec.storage], "<i8"
        for file, shape, kind in zip(self._files, shapes, kinds, strict=False):
            file.seek(0)
            file.write(header(shape, kind))
        for file in self._files:
            file.close()  # which writes what was held back: the disk can be full here too
        return Segment(self.count, *map(summed, self._paths))

    def close(self) -> None:
        """Closes what is open. Files that are not done are nobody's, whatever their end lacks."""
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()


def header(shape: tuple[int, ...], kind: str) -> bytes:
    """The header of a .npy file, always of one length, so that it can be written last."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    room = HEADER - 10  # behind the magic string, the version and the length
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode() + b"\n"


def summed(path: Path) -> File:
    """A file's entry in the manifest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(path.name, path.stat().st_size, digest)


def mapped(folder: Path, file: File) -> UInt8[np.ndarray, " bytes"]:
    """A file's bytes through a memory map, which outlives the file's name.

    Raises FileNotFoundError where it is gone, UserError where it has not the length it should.
    """
    path = folder / FOLDER / file.name
    try:
        size = path.stat().st_size
        if size == file.bytes > 0:
            return np.memmap(path, np.uint8, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    raise UserError(f"{path} is damaged: {size} bytes of {file.bytes}")


def array(
    folder: Path, file: File, raw: UInt8[np.ndarray, " bytes"], kind: str, shape: tuple[int, ...]
) -> Shaped[np.ndarray, "..."]:
    """The array in a mapped .npy file. Raises UserError where it is not what it should be."""
    try:
        stream = io.BytesIO(raw[:HEADER].tobytes())
        np.lib.format.read_magic(stream)
        found, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if (found, dtype) == (shape, np.dtype(kind)):
            return raw[stream.tell() :].view(kind).reshape(shape)
        told = f"{dtype} {found} instead of {np.dtype(kind)} {shape}"
    except ValueError as error:
        told = str(error).splitlines()[0]
    raise UserError(f"{folder / FOLDER / file.name} is damaged: {told}")


@dataclasses.dataclass(frozen=True)
class Opened:
    """A segment as it is read: memory maps and which of its rows still count."""

    folder: Path
    segment: Segment
    raw: tuple[UInt8[np.ndarray, " _"], ...]
    vectors: Shaped[np.ndarray, "n w"]
    ids: Int64[np.ndarray, " n"]
    alive: Bool[np.ndarray, " n"] | None  # None: all of them

    @functools.cached_property
    def count(self) -> int:
        """How many rows count."""
        return self.segment.count if self.alive is None else int(self.alive.sum())

    def living(self) -> Int[np.ndarray, " k"]:
        """The places of the rows that count."""
        return np.arange(self.segment.count) if self.alive is None else np.flatnonzero(self.alive)

    @functools.cached_property
    def _ends(self) -> Int64[np.ndarray, " n"]:
        ends = np.flatnonzero(self.raw[2] == ord("\n")) + 1
        if len(ends) != self.segment.count or ends[-1] != len(self.raw[2]):
            raise self.damaged(2, f"{len(ends)} lines of {self.segment.count}")
        return ends

    def lines(self, places: Int[np.ndarray, " k"]) -> Iterator[bytes]:
        """The lines of rows.jsonl at some places. Raises UserError where it is damaged."""
        ends = self._ends
        for at in places.tolist():
            yield self.raw[2][ends[at - 1] if at else 0 : ends[at]].tobytes()

    def rows(self, places: Int[np.ndarray, " k"]) -> Iterator[tuple[int, Row]]:
        """The rows at some places, with their ids. Raises UserError where the file is damaged."""
        for id_, text in zip(self.ids[places].tolist(), self.lines(places), strict=True):
            try:
                content = json.loads(text)
                if content.pop("id") != id_:
                    raise ValueError(f"the row of {id_} has another id")
                yield id_, Row(**{"metadata": {}, **content})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self.damaged(2, str(error)) from error

    def damaged(self, part: int, why: str) -> UserError:
        """What is said of one of the three files."""
        name = self.segment.files()[part].name
        return UserError(f"{self.folder / FOLDER / name} is damaged: {why}")


def opened(
    folder: Path, spec: Spec, segment: Segment, removed: Int[np.ndarray, " r"] | None = None
) -> Opened:
    """A segment's files, mapped, sizes and shapes checked. Raises what `mapped` does."""
    raw = tuple(mapped(folder, file) for file in segment.files())
    shape = (segment.count, spec.width)
    vectors = array(folder, segment.vectors, raw[0], STORAGES[spec.storage], shape)
    ids = array(folder, segment.ids, raw[1], "<i8", (segment.count,))
    alive = None
    if removed is not None and len(removed):
        gone = np.isin(ids, removed, assume_unique=True)
        alive = ~gone if gone.any() else None
    return Opened(folder, segment, raw, vectors, ids, alive)
