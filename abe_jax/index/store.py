"""What changes an index: one writer at a time, each change whole or not at all.

A writer holds the lock, writes new files beside those of the state, has them on disk and then
replaces index.json: that rename is the change. What no state names, because a writer was killed or
because rows moved to a larger segment, is deleted under the same lock.
"""

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Int64

from abe_jax.errors import UserError
from abe_jax.index import compaction, manifest, snapshot
from abe_jax.index.manifest import ENDINGS, FOLDER, NEW, REMOVED, Manifest, Spec, Threshold
from abe_jax.index.segments import Row, Writer, header, line, summed
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import stored

LOCK = ".lock"
PATIENCE = 60.0  # seconds that a writer waits for another


def create(folder: Path, spec: Spec) -> None:
    """Makes an empty index. Raises UserError where there is one, or it cannot be written."""
    state = Manifest(spec=manifest.checked(spec))
    with _telling(folder):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if (folder / manifest.NAME).exists():
                raise UserError(f"{folder} is an index already: add to it, or choose another name")
            _sweep(folder, state)
            manifest.write(folder, state)


def add(
    folder: Path, vectors: Float[np.ndarray, "..."], rows: Sequence[Row], fingerprint: str
) -> Int64[np.ndarray, " n"]:
    """Adds vectors float32 [n, m, d] with their rows, all or none, and gives their new ids.

    Raises UserError where another model made them, where shapes do not fit, a number is not finite,
    another writer does not end, or the disk is full: the index is then as it was.
    """
    with adding(folder, fingerprint) as new:
        return new.append(vectors, rows)


@contextlib.contextmanager
def adding(folder: Path, fingerprint: str) -> Iterator["Adding"]:
    """Adds in as many pieces as it takes, all of them at the end; without an end, none.

    Other writers wait meanwhile. Raises UserError as `add`.
    """
    with _writing(folder) as now:
        if fingerprint != now.spec.fingerprint:
            raise UserError(
                f"{folder} holds vectors of the model {now.spec.fingerprint}, these are of "
                f"{fingerprint}: use that model, or build another index"
            )
        new = Adding(now)
        try:
            yield new
            new.commit()
        finally:
            new.close()


class Adding:
    """New rows on their way into an index, and old ones that they replace."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now
        self._next = now.manifest.next_id
        self._writer: Writer | None = None
        self._gone = np.zeros(0, np.int64)

    @property
    def now(self) -> Snapshot:
        """The state that this adds to; no other writer changes it meanwhile."""
        return self._now

    def append(
        self, vectors: Float[np.ndarray, "..."], rows: Sequence[Row]
    ) -> Int64[np.ndarray, " n"]:
        """Adds a piece; its ids. Raises UserError as `add`."""
        content = stored(vectors, self._now.spec)
        if len(rows) != len(content):
            raise UserError(f"{len(content)} vectors came with {len(rows)} rows: one for each")
        ids = np.arange(self._next, self._next + len(content))
        lines = [line(id_, row) for id_, row in zip(ids.tolist(), rows, strict=True)]
        if lines:
            with _telling(self._now.folder):
                if self._writer is None:
                    self._writer = Writer(self._now.folder, _name(self._now), self._now.spec)
                self._writer.append(content, ids, lines)
            self._next += len(lines)
        return ids

    def discard(self, ids: Int[np.ndarray, " k"]) -> None:
        """Takes rows of `now` out by the same change that adds the pieces."""
        held = np.intersect1d(np.asarray(ids, np.int64), self._now.ids())
        self._gone = np.union1d(self._gone, held)

    def commit(self) -> None:
        """Makes all pieces part of the index; nothing more may be added then."""
        if self._writer is None and not len(self._gone):
            return
        with _telling(self._now.folder):
            grown = self._now.manifest.segments
            if self._writer is not None:
                grown = (*grown, self._writer.done())
            removed = np.union1d(self._now.removed, self._gone)
            _commit(self._now, segments=grown, removed=removed, next_id=self._next)
        self._writer, self._gone = None, np.zeros(0, np.int64)

    def close(self) -> None:
        """Lets go of the files."""
        if self._writer is not None:
            self._writer.close()


def remove(folder: Path, ids: Int[np.ndarray, " k"]) -> int:
    """Takes rows out of the index; how many of the ids it held. Their ids are not given again.

    Raises UserError where another writer does not end or the disk is full.
    """
    with _writing(folder) as now, _telling(folder):
        gone = np.intersect1d(np.asarray(ids, np.int64), now.ids())
        if len(gone):
            _commit(now, removed=np.union1d(now.removed, gone))
        return len(gone)


def set_threshold(folder: Path, threshold: Threshold | None) -> None:
    """Stores what counts as a match, or with None that nothing is said. Raises UserError."""
    with _writing(folder) as now, _telling(folder):
        _write(now, dataclasses.replace(now.manifest, threshold=threshold))


def _commit(
    now: Snapshot,
    *,
    segments: tuple[manifest.Segment, ...] | None = None,
    removed: Int64[np.ndarray, " r"] | None = None,
    next_id: int | None = None,
) -> None:
    """Changes what is given, merges what has become small, and makes that the state."""
    state = now.manifest
    grown = state.segments if segments is None else segments
    gone = now.removed if removed is None else removed
    kept, gone = compaction.compacted(now.folder, state.spec, grown, gone, _name(now))
    file = state.removed if np.array_equal(gone, now.removed) else _removed(now, gone)
    ids = state.next_id if next_id is None else next_id
    _write(now, dataclasses.replace(state, segments=kept, removed=file, next_id=ids))


def _removed(now: Snapshot, ids: Int64[np.ndarray, " r"]) -> manifest.File | None:
    """The file of the ids that are gone, new; none where none is."""
    if not len(ids):
        return None
    path = now.folder / FOLDER / f"{_name(now)}.{REMOVED}"
    path.write_bytes(header(ids.shape, "<i8") + ids.astype("<i8").tobytes())
    return summed(path)


def _write(now: Snapshot, state: Manifest) -> None:
    """Makes `state` the newest, once its new files are on disk."""
    new = set(state.files()) - set(now.manifest.files())
    for file in new:
        manifest.synced(now.folder / FOLDER / file.name)
    if new:
        manifest.synced(now.folder / FOLDER)
    manifest.write(now.folder, dataclasses.replace(state, generation=now.generation + 1))


def _name(now: Snapshot) -> str:
    """The beginning of the names of the next state's files: no state before it used them."""
    return f"{now.generation + 1:08d}"


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[Snapshot]:
    """The newest state, and nobody else writes; before and after, what no state names goes."""
    manifest.load(folder)  # no lock is left in a folder that is no index
    with _locked(folder):
        with _telling(folder):
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
    (folder / NEW).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # A lock of the kernel's goes with its process, however that ends: none is ever left behind.
    with _telling(folder):
        lock = (folder / LOCK).open("a")
    with lock:
        end = time.monotonic() + PATIENCE
        while not _taken(lock.fileno()):
            if time.monotonic() > end:
                raise UserError(f"another process is writing {folder}: try again when it is done")
            time.sleep(0.02)
        yield


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """Turns what the system refuses (a full disk, no permission) into a line for the user."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(f"{folder} cannot be written ({why}): the index is as it was") from error
