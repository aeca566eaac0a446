"""One state of an index, read without a lock whatever a writer does meanwhile."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64

from abe_jax.errors import UserError
from abe_jax.index import manifest, segments
from abe_jax.index.manifest import Manifest, StoredFile, Threshold, VectorSpec
from abe_jax.index.mapped_file import MappedFile
from abe_jax.index.segments import ImageRow, Segment

BLOCK = 4096  # rows looked at together
PIECE = 2**22  # bytes (4 MiB) summed together
NAMED = 20  # ids that a line names
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
    removed_file: MappedFile | None = None

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

    def is_whole(self) -> bool:
        """Whether every file still has its length; one that was cut is one that cannot be used."""
        own = [file for segment in self.segments for file in segment.mapped]
        try:
            for file in own:
                file.check()
        except UserError:
            return False
        return True

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
    """The files of a state. Raises FileNotFoundError where one is gone, UserError for damage."""
    removed, file = np.zeros(0, np.int64), None
    if state.removed is not None:
        file = segments.mapped_file(folder, state.removed)
        count = (state.removed.bytes - segments.HEADER) // 8
        removed = segments.npy_array(file, "<i8", (count,)).copy()  # short, and needs no map
    parts = tuple(segments.open_segment(folder, state.spec, s, removed) for s in state.segments)
    last = -1
    for segment in parts:
        if segment.ids[0] <= last or segment.ids[-1] < segment.ids[0]:
            raise segment.damaged(1, "its ids do not rise")
        last = int(segment.ids[-1])
        if last >= state.next_id:
            raise segment.damaged(1, f"it holds the id {last}, not given yet")
    return Snapshot(folder, state, parts, removed, file)


def verify(snapshot: Snapshot) -> None:
    """Reads every byte of a state: checksums, ids that rise, one row for each, finite vectors.

    Raises UserError that names the first damaged file, or the rows that have no finite vector.
    """
    if snapshot.manifest.removed is not None and snapshot.removed_file is not None:
        _check_sum(snapshot.manifest.removed, snapshot.removed_file)
    for segment in snapshot.segments:
        for file, mapped in zip(segment.files.all(), segment.mapped, strict=True):
            _check_sum(file, mapped)
        if (np.diff(segment.ids) <= 0).any():
            raise segment.damaged(1, "its ids do not rise")
        for _ in segment.rows(np.arange(segment.size)):
            pass
    ids = not_finite(snapshot)
    if len(ids):
        more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
        raise UserError(
            f"{snapshot.folder}: vectors with NaN or infinite numbers, which no search finds, "
            f"under the ids {', '.join(map(str, ids[:NAMED].tolist()))}{more}; "
            "`python -m abe_jax.index remove --ids` removes them, add embeds their images anew"
        )


def not_finite(snapshot: Snapshot) -> Int64[np.ndarray, " k"]:
    """The ids of the rows, not removed, whose vector holds a NaN or an infinite number."""
    found = [np.zeros(0, np.int64)]
    for segment in snapshot.segments if snapshot.spec.storage != "binary" else ():
        alive = segment.alive_rows()
        for start in range(0, len(alive), BLOCK):
            numbers = alive[start : start + BLOCK]
            finite = np.isfinite(segment.vectors[numbers]).all(axis=1)
            found.append(segment.ids[numbers[~finite]])
    return np.concatenate(found)


def _check_sum(file: StoredFile, mapped: MappedFile) -> None:
    summed = hashlib.sha256()
    for start in range(0, file.bytes, PIECE):
        summed.update(mapped.bytes[start : start + PIECE].data)
    if summed.hexdigest() != file.sha256:
        raise UserError(f"{mapped.path} is damaged: its checksum differs")
