"""What changes an index: one writer at a time, each change entirely or not at all.

A writer holds the lock, writes new files beside those of the state, has them on disk and then
replaces index.json: that rename is the change. What no state names, because a writer was killed or
because rows moved to a larger segment, is deleted under the same lock.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Int64

from abe_jax import files
from abe_jax.errors import UserError
from abe_jax.index import compaction, manifest, snapshot
from abe_jax.index.manifest import (
    ENDINGS,
    FOLDER,
    LEFTOVERS,
    REMOVED,
    Manifest,
    StoredFile,
    Threshold,
    VectorSpec,
)
from abe_jax.index.segments import ImageRow, SegmentWriter, described, header, line, stored_file
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import as_stored

LOCK = ".lock"
PATIENCE = 60.0  # seconds that a writer waits for another


def create(folder: Path, spec: VectorSpec) -> None:
    """Makes an empty index. Raises UserError where there is one, or it cannot be written."""
    manifest.check(spec)
    state = Manifest(spec=spec)
    with _explaining(folder):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if (folder / manifest.NAME).exists():
                raise UserError(f"{folder} is an index already: add to it, or choose another name")
            _sweep(folder, state)
            manifest.write(folder, state)


def add(
    folder: Path, vectors: Float[np.ndarray, "..."], rows: Sequence[ImageRow], fingerprint: str
) -> Int64[np.ndarray, " n"]:
    """Adds vectors float32 [n, m, d] with their rows, all or none, and gives their new ids.

    Raises UserError where another network made them, where shapes do not fit, a number is not
    finite, another writer does not end, or the disk is full: the index is then as it was.
    """
    with transaction(folder, fingerprint) as changes:
        return changes.append(vectors, rows)


@contextlib.contextmanager
def transaction(folder: Path, fingerprint: str) -> Iterator["Transaction"]:
    """Adds in as many pieces as it takes, all of them at the end; after an exception, none.

    Other writers wait meanwhile. Raises UserError as `add`.
    """
    with _writing(folder) as now:
        if fingerprint != now.spec.fingerprint:
            raise UserError(
                f"{folder} holds vectors of the model {now.spec.fingerprint}, these are of "
                f"{fingerprint}: use that model, or build another index"
            )
        changes = Transaction(now)
        try:
            yield changes
            changes.commit()
        finally:
            changes.close()


class Transaction:
    """New rows on their way into an index, and old ones that go or are described anew."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now
        self._next = now.manifest.next_id
        self._writer: SegmentWriter | None = None
        self._discarded = np.zeros(0, np.int64)
        self._described: dict[int, ImageRow] = {}

    @property
    def now(self) -> Snapshot:
        """The state that this adds to; no other writer changes it meanwhile."""
        return self._now

    def append(
        self, vectors: Float[np.ndarray, "..."], rows: Sequence[ImageRow]
    ) -> Int64[np.ndarray, " n"]:
        """Adds a piece; its ids. Raises UserError as `add`."""
        content = as_stored(vectors, self._now.spec)
        if len(rows) != len(content):
            raise UserError(f"{len(content)} vectors came with {len(rows)} rows: one for each")
        ids = np.arange(self._next, self._next + len(content))
        lines = [line(id_, row) for id_, row in zip(ids.tolist(), rows, strict=True)]
        if lines:
            with _explaining(self._now.folder):
                if self._writer is None:
                    name = _next_name(self._now)
                    self._writer = SegmentWriter(self._now.folder, name, self._now.spec)
                self._writer.append(content, ids, lines)
            self._next += len(lines)
        return ids

    def discard(self, ids: Int[np.ndarray, " k"]) -> None:
        """Removes rows of `now` by the same change that adds the pieces."""
        existing = np.intersect1d(np.asarray(ids, np.int64), self._now.ids())
        self._discarded = np.union1d(self._discarded, existing)

    def describe(self, rows: Mapping[int, ImageRow]) -> None:
        """Gives ids of `now` another path, label and metadata; their vectors stay."""
        self._described |= rows

    def commit(self) -> None:
        """Makes all pieces part of the index; nothing more may be added then."""
        if self._writer is None and not len(self._discarded) and not self._described:
            return
        with _explaining(self._now.folder):
            segments = described(self._now.segments, _next_name(self._now), self._described)
            if self._writer is not None:
                segments = (*segments, self._writer.finish())
            removed = np.union1d(self._now.removed, self._discarded)
            _commit(self._now, segments=segments, removed=removed, next_id=self._next)
        self._writer, self._discarded, self._described = None, np.zeros(0, np.int64), {}

    def close(self) -> None:
        """Closes the files."""
        if self._writer is not None:
            self._writer.close()


def remove(folder: Path, ids: Int[np.ndarray, " k"]) -> int:
    """Removes rows; how many of the ids there were. Their ids are not given again.

    Raises UserError where another writer does not end or the disk is full.
    """
    with _writing(folder) as now, _explaining(folder):
        existing = np.intersect1d(np.asarray(ids, np.int64), now.ids())
        if len(existing):
            _commit(now, removed=np.union1d(now.removed, existing))
        return len(existing)


def set_threshold(folder: Path, threshold: Threshold | None) -> None:
    """Stores what counts as a match, or with None that nothing is known of it. Raises UserError."""
    with _writing(folder) as now, _explaining(folder):
        _write(now, dataclasses.replace(now.manifest, threshold=threshold))


def _commit(
    now: Snapshot,
    *,
    segments: tuple[manifest.SegmentFiles, ...] | None = None,
    removed: Int64[np.ndarray, " r"] | None = None,
    next_id: int | None = None,
) -> None:
    """Changes what is given, merges what has become small, and makes that the state."""
    state = now.manifest
    segments = state.segments if segments is None else segments
    removed = now.removed if removed is None else removed
    name = _next_name(now)
    segments, removed = compaction.compacted(now.folder, state.spec, segments, removed, name)
    unchanged = np.array_equal(removed, now.removed)
    file = state.removed if unchanged else _removed_file(now, removed)
    next_id = state.next_id if next_id is None else next_id
    _write(now, dataclasses.replace(state, segments=segments, removed=file, next_id=next_id))


def _removed_file(now: Snapshot, ids: Int64[np.ndarray, " r"]) -> StoredFile | None:
    """A new file of the removed ids; None where there are none."""
    if not len(ids):
        return None
    path = now.folder / FOLDER / f"{_next_name(now)}.{REMOVED}"
    path.write_bytes(header(ids.shape, "<i8") + ids.astype("<i8").tobytes())
    return stored_file(path)


def _write(now: Snapshot, state: Manifest) -> None:
    """Makes `state` the newest, once its new files are on disk."""
    new = set(state.files()) - set(now.manifest.files())
    for file in new:
        files.sync(now.folder / FOLDER / file.name)
    if new:
        files.sync(now.folder / FOLDER)
    manifest.write(now.folder, dataclasses.replace(state, generation=now.generation + 1))


def _next_name(now: Snapshot) -> str:
    """The beginning of the names of the next state's files: no state before it used them."""
    return f"{now.generation + 1:08d}"


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[Snapshot]:
    """The newest state, under the lock; before and after, files that no state names are deleted."""
    manifest.load(folder)  # no lock is left in a folder that is no index
    with _locked(folder):
        with _explaining(folder):
            _sweep(folder, manifest.load(folder))
        try:
            yield snapshot.read(folder)
        finally:
            with contextlib.suppress(OSError, UserError):
                _sweep(folder, manifest.load(folder))


def _sweep(folder: Path, state: Manifest) -> None:
    """Deletes the files of this format that a state does not name."""
    named = {file.name for file in state.files()}
    for path in (folder / FOLDER).iterdir():
        if path.name.endswith((*ENDINGS, REMOVED)) and path.name not in named:
            path.unlink()
    for pattern in LEFTOVERS:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with _explaining(folder):
            ours = stack.enter_context(files.lock(folder / LOCK, PATIENCE))
        if not ours:
            raise UserError(f"another process is writing {folder}: try again when it is done")
        yield


@contextlib.contextmanager
def _explaining(folder: Path) -> Iterator[None]:
    """Turns what the system refuses (a full disk, no permission) into a line for the user."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(f"{folder} cannot be written ({reason}): the index is as it was") from error
