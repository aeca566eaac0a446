"""Which rows of an index are which files of a folder, whatever these are called by now."""

import os
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from abe_jax.data.sources import image_files, image_kinds
from abe_jax.index.image_list import BYTES, CHANGED, DIGEST, ImageList
from abe_jax.index.same_folder import other_paths
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot

_NONE: Mapping[str, str] = {}


class Known(NamedTuple):
    """A row of an index: what tells its file, and all else that is known of it.

    `stamp` is the file's size and time of change when it was embedded, None where they were not
    noted; `digest` that of its bytes, None in an index of a program that noted none.
    """

    id: int
    path: str
    label: str
    stamp: tuple[str, str] | None
    digest: str | None
    others: Mapping[str, str]  # metadata that is not of the file


class Listed(NamedTuple):
    """Files that an index is to hold, and the folder that they are in.

    `folder` is an absolute path; rows of files elsewhere stay. `columns` tells that a CSV file
    names them, which gives all of their metadata; a folder gives none.
    """

    images: ImageList
    folder: str
    columns: bool

    def covers(self, path: str) -> bool:
        """Whether a path is below the folder."""
        return path.startswith(os.path.join(self.folder, ""))


class Matches(NamedTuple):
    """What each listed file is.

    `same` and `moved` are rows of the index by the path that their file has now, `copied` rows of
    equal files by the path of one more; `new` files must be embedded. `free` are rows below the
    folder, by their path, whose file is gone or (the path is one of `copied` or `new`) changed.
    `kept` rows, so many, have a file that cannot be read now, `outside` ones none in the folder.
    """

    same: Mapping[str, Known]
    moved: Mapping[str, Known]
    copied: Mapping[str, Known]
    new: Sequence[ImageRow]
    free: Mapping[str, Sequence[Known]]
    kept: int
    outside: int


def known_rows(snapshot: Snapshot) -> list[Known]:
    """Every row of a state."""
    return [known_row(id_, row) for id_, row in snapshot.rows()]


def known_row(id_: int, row: ImageRow) -> Known:
    """A row of an index, in little memory: there may be millions."""
    stamp, digest, others = stamp_of(row), row.metadata.get(DIGEST), others_of(row) or _NONE
    return Known(id_, row.path, sys.intern(row.label), stamp, digest, others)


def under_own_path(known: Sequence[Known], listed: Listed) -> tuple[list[Known], frozenset[int]]:
    """The rows, with the ids of those in the folder that had another path of it until now.

    Two rows never get one path. Where each listed file has its row, no other is looked for.
    """
    taken = {row.path for row in known}
    if all(row.path in taken for row in listed.images.rows):
        return list(known), frozenset()
    others = other_paths(listed.folder, (row.path for row in known))
    own = {other: path for path, other in others.items() if path not in taken}
    result = [row._replace(path=own.get(row.path, row.path)) for row in known]
    return result, frozenset(row.id for row in known if row.path in own)


def stamp_of(row: ImageRow) -> tuple[str, str] | None:
    """Size and time of change of a row's file."""
    size, changed = row.metadata.get(BYTES), row.metadata.get(CHANGED)
    return (size, changed) if size and changed else None


def others_of(row: ImageRow) -> dict[str, str]:
    """The metadata of a row that is not of its file."""
    return {k: v for k, v in row.metadata.items() if k not in (BYTES, CHANGED, DIGEST)}


def to_read(known: Sequence[Known], images: Sequence[ImageRow], verify: bool) -> Iterator[str]:
    """The paths whose content decides: all others are known, or are sure to be new, by their sizes.

    A file is known by its path, size and time of change, unless `verify`; where the index has no
    digest of it, it is read to note one.
    """
    by_path = {row.path: row for row in known}
    sizes = {row.stamp[0] for row in known if row.digest and row.stamp}
    for row in images:
        stamp, old = stamp_of(row), by_path.get(row.path)
        unchanged = old is not None and old.stamp == stamp
        if unchanged and not verify:
            if old is not None and old.digest is None:
                yield row.path
        elif stamp and stamp[0] in sizes:
            yield row.path


def matches(
    known: Sequence[Known], listed: Listed, digests: Mapping[str, str], verify: bool
) -> Matches:
    """Follows files by content.

    Args:
        known: all rows of the index.
        listed: the files.
        digests: by path, of the files that `to_read` names, where they can be read.
        verify: whether equal size and time of change say nothing.
    """
    by_path = {row.path: row for row in known}
    same, others = dict[str, Known](), list[ImageRow]()
    for row in listed.images.rows:
        old = by_path.get(row.path)
        if old is not None and _is_same(old, row, digests.get(row.path), verify):
            same[row.path] = old
        else:
            others.append(row)
    contents = {row.path: digests[row.path] for row in others if row.path in digests}
    used, kept = {old.id for old in same.values()}, _unopened(known, listed)
    left = [old for old in known if old.id not in used and old.id not in kept]
    present = set(contents.values())
    free = [
        old
        for old in left
        if listed.covers(old.path) or (old.digest in present and not os.path.lexists(old.path))
    ]
    moved = _moved(contents, free)
    used = {old.id for old in moved.values()}
    of_content = {old.digest: old for old in known if old.digest}
    copied = {
        path: of_content[content]
        for path, content in contents.items()
        if path not in moved and content in of_content
    }
    new = [row for row in others if row.path not in moved and row.path not in copied]
    unused, outside = defaultdict[str, list[Known]](list), 0
    for old in left:
        if old.id in used:
            continue
        if listed.covers(old.path):
            unused[old.path].append(old)
        else:
            outside += 1
    return Matches(same, moved, copied, new, dict(unused), len(kept), outside)


def _is_same(old: Known, row: ImageRow, content: str | None, verify: bool) -> bool:
    if old.stamp == stamp_of(row) and not verify:
        return True
    return content is not None and old.digest == content


def _unopened(known: Iterable[Known], listed: Listed) -> set[int]:
    """The ids of rows at or below a path that is there but cannot be looked at."""
    there = {path for path in listed.images.unreadable if os.path.lexists(path)}
    files = {row.path for row in listed.images.rows}

    def is_kept(path: str) -> bool:
        if there and (path in there or any(str(above) in there for above in Path(path).parents)):
            return True
        # A folder's list leaves out what it cannot tell to be an image.
        return not listed.columns and path not in files and listed.covers(path) and _waits(path)

    return {old.id for old in known if is_kept(old.path)}


def _waits(path: str) -> bool:
    """Whether a file is there of which nothing can be said now.

    It may not be read, or is HEIC and the package that reads it is not installed.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    return not image_files.first_bytes(path, 1) or image_kinds.kind(path) == "heic"


def _moved(contents: Mapping[str, str], free: Sequence[Known]) -> dict[str, Known]:
    """By path, the free row of its content: of several one with its file name, if there is one."""
    keys: Sequence[Callable[[str, str], Hashable]] = (
        lambda content, path: (content, os.path.basename(path)),
        lambda content, _: content,
    )
    moved, used = dict[str, Known](), set[int]()
    for key in keys:
        waiting = defaultdict[Hashable, list[Known]](list)
        for old in reversed(free):  # so that pop() gives the first
            if old.digest and old.id not in used:
                waiting[key(old.digest, old.path)].append(old)
        for path, content in contents.items():
            if path not in moved and (candidates := waiting[key(content, path)]):
                moved[path] = candidates.pop()
                used.add(moved[path].id)
    return moved
