"""Images into an index: a new index, or more images into one; all of them or none."""

import contextlib
import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from abe_jax import files, hosts
from abe_jax.data.images import heif
from abe_jax.data.inspected import Inspected
from abe_jax.data.sources import image_files
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Embedded
from abe_jax.index import model_files, progress, store
from abe_jax.index.contents import DIGEST_BYTES, DigestedFiles
from abe_jax.index.image_list import DIGEST, ImageList
from abe_jax.index.known_labels import with_known_labels
from abe_jax.index.manifest import NAME, VectorSpec
from abe_jax.index.own_file import opened
from abe_jax.index.segments import ImageRow

UNREADABLE, DAMAGED = "unreadable.txt", "damaged.txt"
NO_IMAGE = "no image, or damaged"
PIECE = 512  # images between two writes, rounded up to full batches: what memory holds at once


class IngestResult(NamedTuple):
    """How many images were added, replaced or left as they were, and which cannot be read."""

    added: int
    replaced: int
    unchanged: int
    unreadable: Mapping[str, str]  # path -> reason
    damaged: Sequence[str] = ()  # paths of those that were embedded but are damaged inside
    notes: Sequence[str] = ()  # what was left out and which labels were made one, a line each


def build(folder: Path, embedder: Embedder, storage: str, images: ImageList) -> IngestResult:
    """Makes an index of images at `folder`, which appears when all of it is on disk.

    All hosts of a job call it with the same images: each embeds its share, the first one writes.

    Raises:
        UserError: something is there already, it cannot be written, or no image can be read; hosts
            list other images.
    """
    hosts.alike({"the images": _listing(images)})
    if not hosts.is_first():
        for _ in embedded_pieces(embedder, images.rows):
            pass  # the first host has these vectors as well
        return IngestResult(len(images.rows), 0, 0, images.unreadable)
    spec = VectorSpec(embedder.fingerprint, embedder.learners, embedder.dim, storage)
    try:
        with _new_folder(folder) as new:
            store.create(new, spec)
            model_files.save(embedder, new / model_files.FOLDER)
            return add(new, embedder, images)
    except OSError as error:  # a full disk, which does not say where
        reason = error.strerror or error
        raise UserError(f"{folder} cannot be written ({reason}): none is left") from error


def add(folder: Path, embedder: Embedder, images: ImageList) -> IngestResult:
    """Adds images to an index, or none of them.

    One that is there with the same size, time of change, label and metadata stays as it is; one
    that is there otherwise is replaced, and keeps its label where it comes without one. A file that
    cannot be read is named in unreadable.txt; an older row of it stays. One that is damaged inside
    is embedded, and named in damaged.txt.

    Raises:
        UserError: the index of another network, or no image at all can be read.
    """
    with store.transaction(folder, embedder.fingerprint) as changes:
        known = {row.path: (id_, _state(row), row.label) for id_, row in changes.now.rows()}
        images = with_known_labels(images, {path: label for path, (*_, label) in known.items()})
        rows = images.rows
        to_embed = [row for row in rows if known.get(row.path, (0, 0))[1] != _state(row)]
        added, undecodable, damaged = list[str](), list[str](), list[str]()
        for piece, embedded in embedded_pieces(embedder, to_embed, damaged.append):
            changes.append(embedded.vectors, [piece[i] for i in embedded.image_ids])
            added += [piece[i].path for i in embedded.image_ids]
            undecodable += [piece[i].path for i in embedded.unreadable]
        replaced = [known[path][0] for path in added if path in known]
        changes.discard(np.array(replaced, np.int64))
        unreadable = {**images.unreadable, **{path: reason(path) for path in undecodable}}
        unchanged = len(rows) - len(to_embed)
        if not added and not unchanged:
            raise none_readable(unreadable)
        changes.commit()
        # Under the lock: two that add would each lose what the other has noted.
        note_files(folder / UNREADABLE, [row.path for row in rows], unreadable)
        note_damaged(folder, to_embed, damaged)
    new = len(added) - len(replaced)
    return IngestResult(new, len(replaced), unchanged, unreadable, damaged, images.notes)


def reason(path: str) -> str:
    """Why an image could not be decoded."""
    return heif.missing(image_files.read(Path(path))) or NO_IMAGE


def none_readable(unreadable: Mapping[str, str]) -> UserError:
    """The error where no image can be read: how many there are, and the first."""
    first, reason = next(iter(unreadable.items()))
    return UserError(
        f"none of {len(unreadable)} images can be read, the first: {shown(first)} ({reason})"
    )


def _state(row: ImageRow) -> int:
    """Equal where nothing has changed; a number, since an index may hold millions of rows."""
    known = sorted((name, value) for name, value in row.metadata.items() if name != DIGEST)
    return hash((row.label, *known))


def embedded_pieces(
    embedder: Embedder,
    rows: Sequence[ImageRow],
    tell_damaged: Callable[[str], None] = lambda path: None,
) -> Iterator[tuple[Sequence[ImageRow], Embedded]]:
    """Images piece by piece with their vectors, and in their metadata the digests of their bytes.

    Says the rate and the time that is left. Of a file that could not be opened there is no digest.
    `tell_damaged` is given the path of each that is damaged inside.
    """
    batch = embedder.network.batch
    length = -(-PIECE // batch) * batch
    with progress.embedding(len(rows)) as told:
        for start in range(0, len(rows), length):
            piece = rows[start : start + length]
            contents = DigestedFiles([row.path for row in piece])
            inspected = Inspected(contents)
            embedded = embedder.embed(inspected, told=told)
            digests = _of_all_hosts(contents.digests, len(piece))
            damaged = np.logical_or.reduce(hosts.gather_rows(inspected.damaged[None]))
            for row in embedded.image_ids[damaged[embedded.image_ids]]:
                tell_damaged(piece[row].path)
            yield [_with_digest(row, digests.get(i)) for i, row in enumerate(piece)], embedded


def _of_all_hosts(digests: Mapping[int, str], count: int) -> Mapping[int, str]:
    """The digests of so many files, each read by one host, told to all."""
    own = np.zeros((count, DIGEST_BYTES), np.uint8)
    for place, digest in digests.items():
        own[place] = np.frombuffer(bytes.fromhex(digest), np.uint8)
    # The same bytes where two hosts read a file; a file that changed between has the greater ones.
    known = hosts.gather_rows(own[None]).max(axis=0)
    return {int(i): known[i].tobytes().hex() for i in np.flatnonzero(known.any(axis=1))}


def _listing(images: ImageList) -> str:
    """How many images are listed, and a digest of their paths and of what tells a changed file."""
    hashed = hashlib.sha256()
    for row in images.rows:
        hashed.update(repr((row.path, row.label, sorted(row.metadata.items()))).encode())
    return f"{len(images.rows):,} (listing {hashed.hexdigest()[:8]})"


def _with_digest(row: ImageRow, digest: str | None) -> ImageRow:
    return row._replace(metadata={**row.metadata, DIGEST: digest}) if digest else row


def read_unreadable(folder: Path) -> dict[str, str]:
    """The files that an index could not read when it was asked to add them, each with its reason.

    Names are as `shown` gives them.
    """
    return _noted(folder, UNREADABLE)


def _noted(folder: Path, name: str) -> dict[str, str]:
    lines = list[str]()
    with contextlib.suppress(FileNotFoundError), opened(folder, name) as file:
        lines = file.read().decode("utf-8", "backslashreplace").splitlines()
    return {name: reason for name, _, reason in (line.partition("\t") for line in lines)}


def note_damaged(folder: Path, asked: Sequence[ImageRow], damaged: Sequence[str]) -> None:
    """Updates the list of files that are damaged inside, but used."""
    if damaged or (folder / DAMAGED).exists():
        noted = dict.fromkeys(damaged, "damaged inside, but used")
        note_files(folder / DAMAGED, [row.path for row in asked], noted)


def note_files(path: Path, asked: Sequence[str], reasons: Mapping[str, str]) -> None:
    """Updates a list of files that cannot be read, or are damaged: a line each, path and reason."""
    before = _noted(path.parent, path.name)
    readable_now = {shown(name) for name in asked}
    now = {name: reason for name, reason in before.items() if name not in readable_now}
    now |= {shown(name): reason for name, reason in reasons.items()}
    if now != before:
        files.write(path, "".join(f"{name}\t{reason}\n" for name, reason in sorted(now.items())))


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its name at the end; after an exception it is gone.

    What a killed process left beside it is deleted: its lock went with it.
    """
    folder = require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.building-"
    for leftover in folder.parent.glob(f"{glob.escape(prefix)}*"):
        with files.lock(leftover, patience=0) as abandoned:
            if abandoned:
                shutil.rmtree(leftover, ignore_errors=True)
    partial = folder.parent / f"{prefix}{secrets.token_hex(8)}"
    partial.mkdir()  # with the rights that the user gives to new folders
    try:
        with files.lock(partial, patience=0):
            yield partial
            partial.rename(folder)  # refused where something has come to be there
            files.sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def require_free(folder: Path) -> Path:
    """The real path of a folder to come. Raises ArgumentError if something is there."""
    folder = Path(os.path.realpath(files.expanded(folder)))
    if (folder / NAME).exists():
        raise ArgumentError(
            "folder",
            f"{folder} is an index already; `python -m abe_jax.index add` adds to it, or name "
            "another folder",
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ArgumentError("folder", f"{folder} exists and is no index; name another folder")
    if folder == Path(os.path.realpath(".")):  # another folder takes its place
        raise ArgumentError("folder", f"{folder} is where this process runs; name a new folder")
    return folder
