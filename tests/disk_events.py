"""What is on disk when a folder appears: records fsync and renames in their order."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest


class Event(NamedTuple):
    """An fsync of a file (its size) or a folder (its names), or a rename to a path."""

    kind: str
    inode: int
    content: int | frozenset[str]
    path: str


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """The events from now on."""
    events: list[Event] = []
    fsync = os.fsync

    def recording_fsync(handle: int) -> None:
        fsync(handle)
        status, path = os.fstat(handle), os.readlink(f"/proc/self/fd/{handle}")
        events.append(Event("fsync", status.st_ino, content(Path(path)), path))

    def recording(rename: Callable) -> Callable:
        def renamed(source: str | Path, target: str | Path) -> None:
            rename(source, target)
            inode = os.stat(target).st_ino
            events.append(Event("rename", inode, content(Path(target)), str(target)))

        return renamed

    monkeypatch.setattr(os, "fsync", recording_fsync)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, recording(getattr(os, name)))
    return events


def content(path: Path) -> int | frozenset[str]:
    """A file's size, or the names in a folder."""
    return frozenset(os.listdir(path)) if path.is_dir() else path.stat().st_size


def not_on_disk(folder: Path, events: list[Event]) -> set[str]:
    """What a loss of power could take of a folder that a rename made appear.

    Names below the folder of files and folders that were not synced as they are now, before that
    rename; and "the rename" where the folder around was not synced after it.
    """
    (rename,) = (i for i, e in enumerate(events) if (e.kind, e.path) == ("rename", str(folder)))
    before = {(e.inode, e.content) for e in events[:rename] if e.kind == "fsync"}
    missing = {
        str(path.relative_to(folder))
        for path in (folder, *folder.rglob("*"))
        if (path.stat().st_ino, content(path)) not in before and content(path) != 0
    }
    after = [e.content for e in events[rename:] if e.inode == folder.parent.stat().st_ino]
    if not any(isinstance(names, frozenset) and folder.name in names for names in after):
        missing.add("the rename")
    return missing
