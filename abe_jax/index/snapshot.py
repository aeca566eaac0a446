"""One state of an index, read without a lock whatever a writer does meanwhile."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64, UInt8

from abe_jax.errors import UserError
from abe_jax.index import manifest, segments
from abe_jax.index.manifest import FOLDER, Manifest, StoredFile, Threshold, VectorSpec
from abe_jax.index.segments import ImageRow, Segment

TRIES = 100  # times that a writer may take files away while they are opened


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A state of an index: the rows not removed, in the order of their ids, through memory maps.

    It stays as it is whatever is added or removed afterwards; `read` gives the newest one.
    """

    folder: Path
    manifest: Manifest
    segments: tuple[Segment, ...]
    removed: Int64[np.ndarray, " r"]  # ids that segments still hold
    removed_raw: UInt8[np.ndarray, " bytes"] | None = None

    @property
    def generation(self) -> int:
        """The number of states before this one, and this one."""
        return self.manifest.generation

    @property
    def spec(self) -> VectorSpec:
        """What the vectors are."""
        return self.manifest.spec

    @property
    def threshold(self) -> Threshold | None:
        """What counts as a match, where that has been calibrated."""
        return self.manifest.threshold

    @functools.cached_property
    def count(self) -> int:
        """How many rows there are."""
        return sum(segment.count for segment in self.segments)

    def ids(self) -> Int64[np.ndarray, " n"]:
        """The ids of all rows, rising."""
        parts = [segment.ids[segment.alive_rows()] for segment in self.segments]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def vectors(self, ids: Int[np.ndarray, " k"]) -> Float32[np.ndarray, "k m d"]:
        """The vectors of some ids, float32 [k, m, d]; of a binary index 1 and -1 for its bits.

        Raises UserError where an id is not in the index.
        """
        stored = np.zeros((len(ids), self.spec.width), manifest.STORAGES[self.spec.storage])
        for segment, chosen, numbers in self._located(ids):
            stored[chosen] = segment.vectors[numbers]
        if self.spec.storage == "binary":
            bits = np.unpackbits(stored, axis=1, count=self.spec.learners * self.spec.dim)
            stored = 2.0 * bits - 1.0
        return stored.astype(np.float32).reshape(len(ids), self.spec.learners, self.spec.dim)

    def row(self, id_: int) -> ImageRow:
        """What is known of a row. Raises UserError where the id is not in the index."""
        ((segment, _, numbers),) = self._located(np.array([id_]))
        return next(segment.rows(numbers))[1]

    def rows(self) -> Iterator[tuple[int, ImageRow]]:
        """All rows with their ids, in the order of these."""
        for segment in self.segments:
            yield from segment.rows(segment.alive_rows())

    def _located(
        self, ids: Int[np.ndarray, " k"]
    ) -> Iterator[tuple[Segment, Bool[np.ndarray, " k"], Int[np.ndarray, " j"]]]:
        """By segment: which of the ids it holds, and the numbers of their rows there."""
        missing = np.ones(len(ids), bool)
        for segment in self.segments:
            numbers = np.minimum(np.searchsorted(segment.ids, ids), segment.size - 1)
            here = segment.ids[numbers] == ids
            if segment.alive is not None:
                here &= segment.alive[numbers]
            missing &= ~here
            if here.any():
                yield segment, here, numbers[here]
        if missing.any():
            raise UserError(f"{self.folder} holds no row with the id {ids[missing][0]}")


def read(folder: Path) -> Snapshot:
    """The newest state of an index.

    No lock is taken. A writer may take a file away between index.json and it: then there is a newer
    state, which is read instead. Sizes, shapes and counts are checked, checksums by `verify`.
    Raises UserError where there is no index, or names the file that is damaged.
    """
    state = manifest.load(folder)
    for _ in range(TRIES):
        try:
            return open_state(folder, state)
        except FileNotFoundError as error:
            newer = manifest.load(folder)
            if newer == state:
                raise UserError(f"{error.filename} is missing from the index") from error
            state = newer
    raise UserError(f"{folder} changes faster than it can be read: try again")


def open_state(folder: Path, state: Manifest) -> Snapshot:
    """The files of a state. Raises FileNotFoundError where one is gone."""
    removed, raw = np.zeros(0, np.int64), None
    if state.removed is not None:
        raw = segments.mapped(folder, state.removed)
        count = (state.removed.bytes - segments.HEADER) // 8
        path = folder / FOLDER / state.removed.name
        removed = segments.npy_array(path, raw, "<i8", (count,))
    parts = tuple(segments.open_segment(folder, state.spec, s, removed) for s in state.segments)
    return Snapshot(folder, state, parts, removed, raw)


def verify(snapshot: Snapshot) -> None:
    """Reads every byte of a state: checksums, ids that rise, one row for each.

    Raises UserError that names the first damaged file.
    """
    last = -1
    if snapshot.manifest.removed is not None and snapshot.removed_raw is not None:
        _check_sum(snapshot, snapshot.manifest.removed, snapshot.removed_raw)
    for segment in snapshot.segments:
        for file, raw in zip(segment.files.all(), segment.raw, strict=True):
            _check_sum(snapshot, file, raw)
        if segment.ids[0] <= last or (np.diff(segment.ids) <= 0).any():
            raise segment.damaged(1, "its ids do not rise")
        last = int(segment.ids[-1])
        if last >= snapshot.manifest.next_id:
            raise segment.damaged(1, f"it holds the id {last}, not given yet")
        for _ in segment.rows(np.arange(segment.size)):
            pass


def _check_sum(snapshot: Snapshot, file: StoredFile, raw: UInt8[np.ndarray, " bytes"]) -> None:
    if hashlib.sha256(raw.data).hexdigest() != file.sha256:
        raise UserError(f"{snapshot.folder / FOLDER / file.name} is damaged: its checksum differs")
