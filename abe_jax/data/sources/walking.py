"""The images of a folder and its sub-folders, and an account of what is left out of them."""

import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from abe_jax.data.sources import image_kinds
from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError

# Trash, thumbnails and the like of operating systems and network storage, in lower case.
_SYSTEM_FOLDERS = (
    frozenset(("$recycle.bin", "recycler", "system volume information", "lost+found"))
    | frozenset(("__macosx", ".appledouble", ".fseventsd", ".spotlight-v100", ".trashes"))
    | frozenset(("network trash folder", ".trash", ".recycle", ".thumbnails"))
    | frozenset(("@eadir", "@tmp", "#recycle", "#snapshot", "~snapshot"))
    | frozenset(("@recycle", "@recently-snapshot", "@__thumb", ".@__thumb"))
)
_SYSTEM_START = ".trash-"  # and the number of a user
_MOST_ENDINGS = 8  # of one line


class LeftOut:
    """Files that are not known to be images, and system folders, counted as they are met."""

    def __init__(self) -> None:
        self._endings, self._folders = Counter[str](), Counter[str]()
        self._heic = self._outside = 0
        self.inside = set[str]()  # the folders of such files, below the root

    def file(self, path: str, kind: image_kinds.Kind) -> None:
        """Counts a file by its ending, but for those that nobody takes for images."""
        if kind == "aside":
            return
        self._endings[image_kinds.ending(path)] += 1
        self._heic += kind == "heic"
        self.inside.add(os.path.dirname(path))

    def outside(self, images: int) -> None:
        """Counts images that lie above the folders of classes."""
        self._outside += images

    def folder(self, name: str) -> None:
        """Counts a system folder."""
        self._folders[name] += 1

    def lines(self, empty: Iterable[str] = ()) -> Sequence[str]:
        """What is to be said: a line of files and one of folders, where there are any.

        `empty` are the classes of which no image is left.
        """
        lines = []
        if self._endings or self._outside:
            lines.append(f"left out: {self._counts()}{self._of_heic()}{_emptied(sorted(empty))}")
        if self._folders:
            folders = (f"{n:,} {shown(name)}" for name, n in self._folders.most_common())
            lines.append(f"left out: folders of the system and its trash: {', '.join(folders)}")
        return tuple(lines)

    def _counts(self) -> str:
        named = Counter({ending: n for ending, n in self._endings.items() if ending})
        common = named.most_common(_MOST_ENDINGS)
        parts = [f"{n:,} {ending}" for ending, n in common]
        if rest := named.total() - sum(n for _, n in common):
            parts.append(f"{rest:,} of {len(named) - len(common)} other endings")
        if bare := self._endings[""]:
            parts.append(f"{bare:,} without ending")
        if self._outside:
            images = "image" if self._outside == 1 else "images"
            parts.append(f"{self._outside:,} {images} outside of the class folders")
        return ", ".join(parts)

    def _of_heic(self) -> str:
        if not self._heic:
            return ""
        are = "one of them is" if self._heic == 1 else f"{self._heic:,} of them are"
        return f"; {are} HEIC, which the package {image_kinds.HEIC_PACKAGE} reads"


def _emptied(classes: Sequence[str]) -> str:
    if not classes:
        return ""
    more = f" and of {len(classes) - 1:,} other classes" if len(classes) > 1 else ""
    return f"; no image is left of class '{shown(classes[0])}'{more}"


def below(folder: str | pathlib.Path, left_out: LeftOut | None = None) -> Iterator[str]:
    """The images in a folder and all its sub-folders, by their paths below it, in rising order.

    `image_kinds.kind` says which files count; what is left out is told to `left_out`. Hidden files
    and the folders that systems keep beside the user's are left out too. Links are followed, but
    not to a folder that they lie in. A sub-folder that cannot be listed is given itself, so that it
    is named among what cannot be read.

    Raises:
        UserError: the folder itself cannot be listed.
    """
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise UserError(f"cannot list {shown(str(folder))}: {error.strerror}") from error
    return walk(str(folder), "", LeftOut() if left_out is None else left_out)


def folders(folder: str | pathlib.Path, left_out: LeftOut | None = None) -> list[str]:
    """The names of a folder's own sub-folders that may hold images, in rising order."""
    account = LeftOut() if left_out is None else left_out
    return [entry.name for entry in _visible(str(folder), account) if _is_folder(entry)]


def images_in(folder: str | pathlib.Path) -> int:
    """How many images lie in a folder itself."""
    inside = (e.path for e in _visible(str(folder), LeftOut()) if not _is_folder(e))
    return sum(image_kinds.kind(path) == "image" for path in inside)


def walk(base: str, start: str, left_out: LeftOut) -> Iterator[str]:
    """As `below`, of the folder `start` below `base`, by paths below `base`; without recursion."""
    parents = pathlib.Path(base, start).absolute().parents
    waiting = [(start, True, frozenset(map(_identity, parents)))]
    while waiting:
        path, is_folder, above = waiting.pop()
        if not is_folder:
            yield path
            continue
        folder = os.path.join(base, path)
        try:
            identity, inside = _identity(folder), _visible(folder, left_out)
        except OSError:
            yield path
            continue
        if identity in above:  # a link to a folder that it lies in
            continue
        for entry in reversed(inside):
            inner = os.path.join(path, entry.name)
            if _is_folder(entry):
                waiting.append((inner, True, above | {identity}))
            elif (kind := image_kinds.kind(entry.path)) == "image":
                waiting.append((inner, False, above))
            else:
                left_out.file(inner, kind)


def _visible(folder: str, left_out: LeftOut) -> list[os.DirEntry[str]]:
    """What may hold or be an image, by rising name."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not _is_aside(entry, left_out)]
    return sorted(visible, key=lambda entry: entry.name)


def _is_aside(entry: os.DirEntry[str], left_out: LeftOut) -> bool:
    if _is_folder(entry) and _is_of_system(entry.name.lower()):
        left_out.folder(entry.name)
        return True
    return entry.name.startswith(".")


def _is_of_system(name: str) -> bool:
    return name in _SYSTEM_FOLDERS or name.startswith(_SYSTEM_START)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where nothing may be looked at
        return False


def _identity(folder: str | pathlib.Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
