"""Images into an index: a whole new index at once, or more images into one; all or nothing."""

import contextlib
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.folder import Files
from abe_jax.errors import UserError
from abe_jax.evaluation import embedder
from abe_jax.evaluation.embed import Embedded
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index import store
from abe_jax.index.manifest import NAME, Spec
from abe_jax.index.segments import Row
from abe_jax.index.selection import Wanted

MODEL, UNREADABLE = "model", "unreadable.txt"
PIECE = 512  # images between two writes, rounded up to whole batches: what memory holds at once


class Outcome(NamedTuple):
    """How many images a command added, replaced, left as they were, and could not read."""

    added: int
    replaced: int
    unchanged: int
    unreadable: Mapping[str, str]  # path -> why


def build(folder: Path, of: Embedder, storage: str, wanted: Wanted) -> Outcome:
    """Makes an index of images at `folder`, which appears whole or not at all.

    Raises:
        UserError: something is there already, it cannot be written, or no image can be read.
    """
    with _appearing(folder) as new:
        store.create(new, Spec(of.fingerprint, of.learners, of.dim, storage))
        embedder.save(of, new / MODEL)
        return add(new, of, wanted)


def add(folder: Path, of: Embedder, wanted: Wanted) -> Outcome:
    """Adds images to an index, or none of them.

    One that is there with the same size, time of change, label and metadata stays as it is; one
    that is there otherwise is replaced, and keeps its label where it comes without one. A file that
    cannot be read is named in unreadable.txt; an older row of it stays.

    Raises:
        UserError: another model's index, or no image at all can be read.
    """
    with store.adding(folder, of.fingerprint) as new:
        held = {row.path: (id_, _state(row), row.label) for id_, row in new.now.rows()}
        rows = [row if row.label else _labelled(row, held) for row in wanted.rows]
        todo = [row for row in rows if held.get(row.path, (0, 0))[1] != _state(row)]
        added, undecodable = list[str](), list[str]()
        for piece, found in pieces(of, todo):
            new.append(found.vectors, [piece[i] for i in found.instances])
            added += [piece[i].path for i in found.instances]
            undecodable += [piece[i].path for i in found.unreadable]
        replaced = [held[path][0] for path in added if path in held]
        new.discard(np.array(replaced, np.int64))
        unreadable = {**wanted.unreadable, **dict.fromkeys(undecodable, "no image, or damaged")}
        unchanged = len(wanted.rows) - len(todo)
        if not added and not unchanged:
            first, why = next(iter(unreadable.items()))
            raise UserError(
                f"none of {len(unreadable)} images can be read, the first: {shown(first)} ({why})"
            )
        new.commit()
        # While others wait: two that add would each lose what the other has noted.
        _note(folder / UNREADABLE, [row.path for row in wanted.rows], unreadable)
    return Outcome(len(added) - len(replaced), len(replaced), unchanged, unreadable)


def _labelled(row: Row, held: Mapping[str, tuple[int, int, str]]) -> Row:
    """A row with the label that it has in the index: of a class's folder alone none is known."""
    return row._replace(label=held[row.path][2]) if row.path in held else row


def _state(row: Row) -> int:
    """Equal where nothing has changed; a number, since an index may hold millions of rows."""
    return hash((row.label, *sorted(row.metadata.items())))


def pieces(of: Embedder, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Row], Embedded]]:
    """Images piece by piece with their vectors, under a progress bar."""
    batch = of.config.evaluate.batch
    length = -(-PIECE // batch) * batch
    with tqdm(total=len(rows), desc="embedding", unit="image", disable=None) as bar:
        for start in range(0, len(rows), length):
            piece = rows[start : start + length]
            yield piece, of.embed(Files(Path("/"), [row.path for row in piece]))
            bar.update(len(piece))


def _note(path: Path, asked: Sequence[str], unreadable: Mapping[str, str]) -> None:
    """Keeps the list of files that could not be read: a line each, path and why."""
    lines = path.read_text().splitlines() if path.exists() else []
    read = {name: why for name, _, why in (line.partition("\t") for line in lines)}
    before = dict(read)
    for name in asked:
        before.pop(shown(name), None)
    now = before | {shown(name): why for name, why in unreadable.items()}
    if now == read:
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(f"{name}\t{why}\n" for name, why in sorted(now.items())))
    partial.replace(path)


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its name at the end; without an end it is gone.

    What a killed process left beside it is deleted: its lock went with it.
    """
    folder = require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.building-"
    for left in folder.parent.glob(f"{glob.escape(prefix)}*"):
        with _held(left) as dead:
            if dead:
                shutil.rmtree(left, ignore_errors=True)
    made = folder.parent / f"{prefix}{secrets.token_hex(8)}"
    made.mkdir()  # with the rights that the user gives to new folders
    try:
        with _held(made):
            yield made
            made.rename(folder)  # refused where something has come to be there
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def require_free(folder: Path) -> Path:
    """The real path of a folder to come. Raises UserError where something is there."""
    folder = Path(os.path.realpath(folder.expanduser()))
    if (folder / NAME).exists():
        raise UserError(
            f"{folder} is an index already; `python -m abe_jax.index add` adds to it, or name "
            "another --out"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} exists and is no index; name another --out")
    if folder == Path(os.path.realpath(".")):  # another folder takes its place
        raise UserError(f"{folder} is where this command runs; name a new folder for --out")
    return folder


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Holds a folder's lock, which goes with the process; False where another process has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
