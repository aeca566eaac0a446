"""An index that follows a folder: files are known again by content, what is new is embedded."""

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import ArgumentError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.files import expanded
from abe_jax.index import contents, ingest, matching, snapshot, store
from abe_jax.index.image_list import BYTES, CHANGED, DIGEST, list_images
from abe_jax.index.matching import Known, Listed, Matches
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot


class SyncResult(NamedTuple):
    """How many images were what, and of how many the vector was computed.

    `unchanged` rows include those whose file is there but cannot be opened; `relabelled` ones have
    another label or other metadata, `outside` ones a file outside of the folder. `unreadable` names
    files that are no image, or cannot be read: path -> reason; `damaged` those that were embedded
    but are damaged inside.
    """

    added: int
    removed: int
    moved: int
    changed: int
    relabelled: int
    unchanged: int
    outside: int
    embedded: int
    unreadable: Mapping[str, str]
    damaged: Sequence[str] = ()

    @property
    def images(self) -> int:
        """How many the index holds."""
        stay = self.moved + self.relabelled + self.unchanged + self.outside
        return self.added + self.changed + stay


class Plan(NamedTuple):
    """What is to be done.

    `described` are the ids that get another row, `copies` new rows with the id that has their
    vector, `new` rows those to be embedded, which replace the ids in `replaced`, by path. `removed`
    ids go in any case. `counts` is the result if every new file is an image.
    """

    described: Mapping[int, ImageRow]
    copies: Sequence[tuple[ImageRow, int]]
    new: Sequence[ImageRow]
    replaced: Mapping[str, Sequence[int]]
    removed: Sequence[int]
    counts: SyncResult


def listed(path: Path, label_column: str | None = None) -> Listed:
    """The images of a folder, or those that a CSV file names.

    Raises:
        UserError: those of `list_images`, or it is one image.
    """
    path = Path(os.path.abspath(expanded(path)))
    images, is_folder = list_images(path, label_column), path.is_dir()
    if not is_folder and path.suffix.lower() != ".csv":
        raise ArgumentError(
            "images", f"{shown(str(path))} is one image; name its folder, or use `add`"
        )
    return Listed(images, str(path if is_folder else path.parent), columns=not is_folder)


def dry_run(folder: Path, files: Listed, verify_content: bool = False) -> SyncResult:
    """What `sync` would do. New files are taken for images: none is decoded, nothing is written."""
    return plan(snapshot.read(folder), files, verify_content).counts


def sync(
    folder: Path, embedder: Embedder, files: Listed, verify_content: bool = False
) -> SyncResult:
    """Makes an index hold the listed files, of those in their folder no others; all or nothing.

    A file is known by its path, size and time of change, or by its content: a moved one keeps its
    id and vector. A copy of an image that is there takes its vector. A file that is no image any
    more is removed; one that cannot be opened stays, and so does HEIC where its package is missing.
    Rows of files elsewhere stay, unless such a file is gone and one of the listed has its content:
    it has moved.

    Args:
        folder: of the index.
        embedder: its network.
        files: see `listed`.
        verify_content: reads every file, whatever its size and time of change.

    Raises:
        UserError: the index of another network, or nothing that is listed can be read.
    """
    with store.transaction(folder, embedder.fingerprint) as changes:
        planned = plan(changes.now, files, verify_content)
        changes.describe(planned.described)
        _add_copies(changes, planned)
        done, replaced = _embed_new(changes, embedder, planned)
        changes.discard(np.array([*planned.removed, *replaced], np.int64))
        if done.images == done.outside:
            raise ingest.none_readable(done.unreadable)
        changes.commit()
        # Under the lock: two that write would each lose what the other has noted.
        below = shown(os.path.join(files.folder, ""))
        gone = [name for name in ingest.read_unreadable(folder) if name.startswith(below)]
        asked = [*gone, *(row.path for row in files.images.rows)]
        ingest.note_files(folder / ingest.UNREADABLE, asked, done.unreadable)
        ingest.note_damaged(folder, planned.new, done.damaged)
    return done


def plan(now: Snapshot, files: Listed, verify_content: bool) -> Plan:
    """What makes a state of an index hold the listed files; reads those that may have moved."""
    known, renamed = matching.under_own_path(matching.known_rows(now), files)
    paths = list(matching.to_read(known, files.images.rows, verify_content))
    digests = contents.digests(paths)
    found = matching.matches(known, files, digests, verify_content)
    described, relabelled = _described(files, found, digests, renamed)
    rows = {row.path: row for row in files.images.rows}
    copies = [
        (_row(files, rows[path], _before(found, path), source.digest), source.id)
        for path, source in found.copied.items()
    ]
    new = [_row(files, row, _before(found, row.path), None) for row in found.new]
    replaced = {row.path: _ids(found, row.path) for row in new if row.path in found.free}
    removed = [old.id for path, olds in found.free.items() if path not in replaced for old in olds]
    copied_over = found.copied.keys() & found.free.keys()
    changed = len(replaced) + len(copied_over)
    counts = SyncResult(
        added=len(new) + len(copies) - changed,
        removed=len(removed) - sum(len(found.free[path]) for path in copied_over),
        moved=len(found.moved),
        changed=changed,
        relabelled=relabelled,
        unchanged=len(found.same) - relabelled + found.kept,
        outside=found.outside,
        embedded=len(new),
        unreadable=files.images.unreadable,
    )
    return Plan(described, copies, new, replaced, removed, counts)


def _described(
    files: Listed, found: Matches, digests: Mapping[str, str], renamed: Collection[int]
) -> tuple[dict[int, ImageRow], int]:
    """The rows that differ from those in the index, and how many but moved ones by their label."""
    described, relabelled = dict[int, ImageRow](), 0
    for listed_row in files.images.rows:
        path = listed_row.path
        old = found.same.get(path) or found.moved.get(path)
        if old is None:
            continue
        row = _row(files, listed_row, old, digests.get(path, old.digest))
        now = matching.known_row(old.id, row)
        if now != old or old.id in renamed:
            described[old.id] = row
        if path in found.same:
            relabelled += (now.label, now.others) != (old.label, old.others)
    return described, relabelled


def _ids(found: Matches, path: str) -> list[int]:
    return [old.id for old in found.free[path]]


def _before(found: Matches, path: str) -> Known | None:
    """The row of a file before it changed."""
    return found.free[path][-1] if path in found.free else None


def _row(files: Listed, row: ImageRow, old: Known | None, digest: str | None) -> ImageRow:
    """The row of a listed file, with what the list does not say and the index knows of it."""
    label, others = row.label, matching.others_of(row)
    if old is not None:
        label = label or _kept_label(old, row.path)
        others = others if files.columns else dict(old.others)
    of_file = {BYTES: row.metadata[BYTES], CHANGED: row.metadata[CHANGED]}
    return ImageRow(row.path, label, {**others, **of_file, **({DIGEST: digest} if digest else {})})


def _kept_label(old: Known, path: str) -> str:
    """The label of a row that is given none: its own, unless of a folder that the file has left."""
    before, now, part = (
        unicodedata.normalize("NFC", name)
        for name in (f"{os.path.dirname(old.path)}/", f"{os.path.dirname(path)}/", f"/{old.label}/")
    )
    return "" if part in before and part not in now else old.label


def _add_copies(changes: store.Transaction, planned: Plan) -> None:
    for start in range(0, len(planned.copies), ingest.PIECE):
        block = planned.copies[start : start + ingest.PIECE]
        vectors = changes.now.vectors(np.array([id_ for _, id_ in block]))
        changes.append(vectors, [row for row, _ in block])


def _embed_new(
    changes: store.Transaction, embedder: Embedder, planned: Plan
) -> tuple[SyncResult, list[int]]:
    """Embeds what is new or changed; what was done in all, and the ids that it replaces."""
    counts, unreadable = planned.counts, dict(planned.counts.unreadable)
    replaced, damaged = list[int](), list[str]()
    for piece, embedded in ingest.embedded_pieces(embedder, planned.new, damaged.append):
        readable = [piece[i] for i in embedded.image_ids]
        changes.append(embedded.vectors, readable)
        replaced += [id_ for row in readable for id_ in planned.replaced.get(row.path, ())]
        for row in (piece[i] for i in embedded.unreadable):
            opened = DIGEST in row.metadata or row.metadata[BYTES] == "0"
            unreadable[row.path] = ingest.reason(row.path) if opened else "cannot be opened"
            olds = planned.replaced.get(row.path, ())
            replaced += olds if opened else ()
            counts = counts._replace(
                added=counts.added - (not olds),
                changed=counts.changed - bool(olds),
                removed=counts.removed + (len(olds) if opened else 0),
                unchanged=counts.unchanged + (0 if opened else len(olds)),
                embedded=counts.embedded - 1,
            )
    return counts._replace(unreadable=unreadable, damaged=tuple(damaged)), replaced
