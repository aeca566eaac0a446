"""One folder by several paths, as where one leads through a link, and the images in it."""

import functools
import os
from collections.abc import Callable, Iterable


def other_paths(folder: str, paths: Iterable[str]) -> dict[str, str]:
    """Path by way of `folder` -> the one of `paths`, of files in it that are named by another way.

    Files themselves are not looked at, nor are links below the folder. The first of several counts.
    """
    is_folder = functools.cache(lambda path: _is_same(path, folder))
    inside, found = os.path.join(folder, ""), dict[str, str]()
    for path in paths:
        if not path.startswith(inside):
            own = _below(folder, path, is_folder)
            if own is not None:
                found.setdefault(own, path)
    return found


def _below(folder: str, path: str, is_folder: Callable[[str], bool]) -> str | None:
    above, rest = os.path.split(path)
    while not is_folder(above):
        above, name = os.path.split(above)
        if not name:
            return None
        rest = os.path.join(name, rest)
    return os.path.join(folder, rest)


def _is_same(path: str, folder: str) -> bool:
    try:
        return os.path.samefile(path, folder)
    except OSError:
        return False
