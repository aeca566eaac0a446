"""Paths of a CSV file where nothing is, and what is there under nearly the same name."""

import os
import pathlib
import unicodedata

from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import closest, folded


def missing(base: pathlib.Path, paths: list[str]) -> list[str]:
    """The paths below `base` where nothing is; what may not be looked at counts as there."""
    # One listing for each folder: asking for every file takes minutes on a distant disk.
    inside: dict[str, frozenset[str]] = {}
    absent = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in inside:
            inside[folder] = _inside(base / folder)
        if name not in inside[folder] and not _exists(base / path):
            absent.append(path)
    return absent


def _inside(folder: pathlib.Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _exists(path: pathlib.Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no permission, or a name too long: reading it will tell
        return True


class ExistingNames:
    """The names below a base, each folder listed once, to find what a path nearly names."""

    def __init__(self, base: pathlib.Path):
        self._base = base
        # Folder -> its names, and these by how they are folded.
        self._folders: dict[str, tuple[frozenset[str], dict[str, str]]] = {}

    def nearest(self, path: str) -> str:
        """The ending of an error line: the existing path that is most like one; "" for none."""
        found = self.alike(path, guess=True)
        return "" if found is None else _suggested(path, found)

    def under_another_name(self, path: str) -> str:
        """As `nearest`, of an absolute path, and only where `alike` finds another one."""
        relative = os.path.relpath(path, self._base)
        found = self.alike(relative)
        return "" if found in (None, relative) else _suggested(relative, found)

    def alike(self, path: str, *, guess: bool = False) -> str | None:
        """The existing path whose names differ in case, Unicode form or spaces at their ends alone.

        With `guess`, also one of names that are nearly the same; this takes a while in a large
        folder.
        """
        found = ""
        for part in pathlib.PurePosixPath(path).parts:
            names, by_folded = self._names(found)
            name = part if part in names else by_folded.get(folded(part))
            if name is None and guess:
                name = closest(part, names)
            if name is None:
                return None
            found = os.path.join(found, name)
        return found

    def _names(self, folder: str) -> tuple[frozenset[str], dict[str, str]]:
        if folder not in self._folders:
            names = _inside(self._base / folder)
            by_folded = {folded(name): name for name in sorted(names, reverse=True)}
            self._folders[folder] = names, by_folded
        return self._folders[folder]


def _suggested(path: str, found: str) -> str:
    if unicodedata.normalize("NFC", path) == unicodedata.normalize("NFC", found):
        form = "NFC" if unicodedata.is_normalized("NFC", found) else "NFD"
        return f"; it is there in another Unicode form ({form})"
    return f"; did you mean '{shown(found)}'?"
