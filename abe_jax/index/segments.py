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
from jaxtyping import Bool, Int, Int64, Shaped

from abe_jax.errors import UserError
from abe_jax.index.manifest import (
    ENDINGS,
    FOLDER,
    STORAGES,
    SegmentFiles,
    StoredFile,
    VectorSpec,
)
from abe_jax.index.mapped_file import MappedFile

HEADER = 128  # bytes of a .npy file before its numbers


class ImageRow(NamedTuple):
    """What is known of one image besides its vector."""

    path: str
    label: str = ""
    metadata: Mapping[str, str] = MappingProxyType({})


def line(id_: int, row: ImageRow) -> bytes:
    """A row's line of rows.jsonl: ASCII, so that any path that the system knows comes back."""
    content: dict[str, object] = {"id": id_, "path": row.path}
    if row.label:
        content["label"] = row.label
    if row.metadata:
        content["metadata"] = dict(row.metadata)
    return json.dumps(content).encode("ascii") + b"\n"


class SegmentWriter:
    """The three files of a new segment, filled block by block."""

    def __init__(self, folder: Path, name: str, spec: VectorSpec) -> None:
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
        """Writes rows, their vectors as the index stores them; ids rise from block to block."""
        kind = STORAGES[self._spec.storage]
        self._files[0].write(np.ascontiguousarray(stored, kind).data)
        self._files[1].write(np.ascontiguousarray(ids, "<i8").data)
        self._files[2].write(b"".join(lines))
        self.count += len(ids)

    def finish(self) -> SegmentFiles:
        """Writes the number of rows into the headers, closes the files and computes checksums."""
        shapes = (self.count, self._spec.width), (self.count,)
        kinds = STORAGES[self._spec.storage], "<i8"
        for file, shape, kind in zip(self._files, shapes, kinds, strict=False):
            file.seek(0)
            file.write(header(shape, kind))
        for file in self._files:
            file.close()  # which writes what was buffered: the disk can be full here too
        return SegmentFiles(self.count, *map(stored_file, self._paths))

    def close(self) -> None:
        """Closes what is open. No state names files that were not finished, so errors are moot."""
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()


def header(shape: tuple[int, ...], kind: str) -> bytes:
    """The header of a .npy file, always of one length, so that it can be written last."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    room = HEADER - 10  # after the magic string, the version and the length
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode() + b"\n"


def stored_file(path: Path) -> StoredFile:
    """A file's entry in the manifest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return StoredFile(path.name, path.stat().st_size, digest)


def mapped_file(folder: Path, file: StoredFile) -> MappedFile:
    """A file that index.json names. Raises what `MappedFile` does."""
    return MappedFile(folder, FOLDER, file.name, size=file.bytes)


def npy_array(file: MappedFile, kind: str, shape: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """The array of a .npy file. Raises UserError where it has another type or shape."""
    raw = file.bytes
    try:
        stream = io.BytesIO(raw[:HEADER].tobytes())
        np.lib.format.read_magic(stream)
        stored_shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if (stored_shape, dtype) == (shape, np.dtype(kind)):
            return raw[stream.tell() :].view(kind).reshape(shape)
        reason = f"{dtype} {stored_shape} instead of {np.dtype(kind)} {shape}"
    except ValueError as error:
        reason = str(error).splitlines()[0]
    raise UserError(f"{file.path} is damaged: {reason}")


@dataclasses.dataclass(frozen=True)
class Segment:
    """A segment as it is read: memory maps, and which of its rows have not been removed.

    Whatever looks into its files raises UserError where one of them was cut since.
    """

    folder: Path
    files: SegmentFiles
    mapped: tuple[MappedFile, MappedFile, MappedFile]
    arrays: tuple[Shaped[np.ndarray, "n w"], Int64[np.ndarray, " n"]]  # of unchecked length
    alive: Bool[np.ndarray, " n"] | None  # None: all of them

    @property
    def vectors(self) -> Shaped[np.ndarray, "n w"]:
        """The vectors of all rows as they are stored."""
        self.mapped[0].check()
        return self.arrays[0]

    @property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """The ids of all rows."""
        self.mapped[1].check()
        return self.arrays[1]

    @property
    def size(self) -> int:
        """How many rows its files have, removed ones included."""
        return self.files.count

    @functools.cached_property
    def count(self) -> int:
        """How many rows have not been removed."""
        return self.size if self.alive is None else int(self.alive.sum())

    def alive_rows(self) -> Int[np.ndarray, " k"]:
        """The numbers, from 0, of the rows that have not been removed."""
        return np.arange(self.size) if self.alive is None else np.flatnonzero(self.alive)

    @functools.cached_property
    def _line_ends(self) -> Int64[np.ndarray, " n"]:
        text = self.mapped[2].bytes
        ends = np.flatnonzero(text == ord("\n")) + 1
        if len(ends) != self.size or ends[-1] != len(text):
            raise self.damaged(2, f"{len(ends)} lines of {self.size}")
        return ends

    def lines(self, numbers: Int[np.ndarray, " k"]) -> Iterator[bytes]:
        """The lines of rows.jsonl with some numbers. Raises UserError where it is damaged."""
        ends = self._line_ends
        for number in numbers.tolist():
            start = ends[number - 1] if number else 0
            yield self.mapped[2].bytes[start : ends[number]].tobytes()

    def rows(self, numbers: Int[np.ndarray, " k"]) -> Iterator[tuple[int, ImageRow]]:
        """The rows with some numbers, and their ids. Raises UserError where the file is damaged."""
        for id_, text in zip(self.ids[numbers].tolist(), self.lines(numbers), strict=True):
            try:
                content = json.loads(text)
                if content.pop("id") != id_:
                    raise ValueError(f"the row of {id_} has another id")
                row = ImageRow(**{"metadata": {}, **content})
                if not (type(row.path) is type(row.label) is str and type(row.metadata) is dict):
                    raise ValueError(f"the row of {id_} has a path, label or metadata of no text")
                yield id_, row
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise self.damaged(2, str(error)) from error

    def damaged(self, part: int, why: str) -> UserError:
        """The error for damage in one of the three files."""
        name = self.files.all()[part].name
        return UserError(f"{self.folder / FOLDER / name} is damaged: {why}")


def open_segment(
    folder: Path, spec: VectorSpec, files: SegmentFiles, removed: Int[np.ndarray, " r"]
) -> Segment:
    """A segment's files, mapped, sizes and shapes checked. Raises what `MappedFile` does."""
    vectors, ids, rows = (mapped_file(folder, file) for file in files.all())
    stored = npy_array(vectors, STORAGES[spec.storage], (files.count, spec.width))
    own_ids = npy_array(ids, "<i8", (files.count,))
    alive = None
    if len(removed):
        gone = np.isin(own_ids, removed, assume_unique=True)
        alive = ~gone if gone.any() else None
    return Segment(folder, files, (vectors, ids, rows), (stored, own_ids), alive)


def described(
    segments: Sequence[Segment], name: str, rows: Mapping[int, ImageRow]
) -> tuple[SegmentFiles, ...]:
    """The files of segments, with new ones of rows, called `name`, where ids have other rows now.

    Vectors and ids stay as they are. Raises UserError where an old file is damaged.
    """
    ids = np.array(sorted(rows), np.int64)
    changed = []
    for number, segment in enumerate(segments):
        if not np.isin(segment.ids, ids).any():
            changed.append(segment.files)
            continue
        path = segment.folder / FOLDER / f"{name}-rows{number}.{ENDINGS[2]}"
        lines = segment.lines(np.arange(segment.size))
        with path.open("xb") as file:
            for id_, text in zip(segment.ids.tolist(), lines, strict=True):
                file.write(line(id_, rows[id_]) if id_ in rows else text)
        changed.append(dataclasses.replace(segment.files, rows=stored_file(path)))
    return tuple(changed)
