"""What a folder of images or a CSV file says of its images: path, class, split, domain, object.

Where images need no classes, `below` lists a folder's and `csv_file.table` a CSV file's. Names are
what the file system has: any script, and bytes that are no text as lone surrogates (PEP 383), of
which `csv_file.shown` makes a line of text.
"""

import difflib
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from abe_jax.data.sources.csv_file import check_paths, missing, refuse, rows, shown
from abe_jax.errors import ArgumentError, UserError

# What OpenCV decodes to 8 or 16 bits; in lower case.
SUFFIXES = frozenset(
    (".avif", ".bmp", ".dib", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png")
) | frozenset((".pnm", ".ppm", ".tif", ".tiff", ".webp"))
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SPLITS |= {"query": "query", "gallery": "gallery"}  # the two sides of a test


class ListedImage(NamedTuple):
    """One image: its path below the base, and what is said of it; '' where nothing is."""

    path: str
    label: str
    split: str  # train | val | test | query | gallery
    domain: str = ""
    instance: str = ""  # which object of its class it shows


class Listing(NamedTuple):
    """All images below one base, by rising path (of a CSV file: in its order)."""

    base: pathlib.Path
    images: list[ListedImage]


def listing(
    path: str, label_column: str, domain_column: str = "", instance_column: str = ""
) -> Listing:
    """All images that a folder or a CSV file names, with their classes; no image is opened.

    A folder holds a sub-folder for each class (`CLASS/**/image.jpg`), or such class folders in
    sub-folders called train, val and test (or query and gallery), in any case. `below` says which
    files in a class folder count; images outside of class folders are left out. A CSV file has
    the columns `path` (below the file's own folder), `label_column`, `split` if it names splits,
    and `domain_column` and `instance_column` where they are asked for.

    Raises:
        UserError: nothing is at `path`, or what is there cannot be understood.
    """
    if not path:
        raise ArgumentError(
            "path",
            "the data set 'folder' needs the path of a folder of images or of a CSV file",
        )
    chosen = pathlib.Path(path).expanduser()
    if not chosen.exists():
        raise ArgumentError("path", f"nothing is at {chosen}{_sibling(chosen)}")
    options = ("label_column", "domain_column", "instance_column")
    named = zip(options, (label_column, domain_column, instance_column), strict=True)
    columns = {option: column for option, column in named if column}
    try:
        if chosen.is_dir():
            _check_no_columns(chosen, columns)
            return _of_folder(chosen)
        return _of_csv(chosen, columns)
    except OSError as error:
        raise ArgumentError(
            "path", f"cannot read {shown(str(error.filename or chosen))}: {error.strerror}"
        ) from error


def _check_no_columns(folder: pathlib.Path, columns: dict[str, str]) -> None:
    for option in sorted(columns.keys() - {"label_column"}):
        named = "', '".join(("path", *columns.values()))
        raise ArgumentError(
            option,
            f"{folder} is a folder, and only a CSV file has columns; leave it empty, or set path "
            f"to a CSV file with the columns '{named}'",
        )


def below(folder: pathlib.Path) -> Iterator[str]:
    """The images in a folder and all its sub-folders, by their paths below it, in rising order.

    What counts is the name's ending (SUFFIXES): whether it is an image, or a file at all, is for
    its reader to find out. Hidden files and other files are left out; links are followed, but not
    to a folder that they lie in. A sub-folder that cannot be listed is given itself, so that it is
    named among what cannot be read.

    Raises:
        UserError: the folder itself cannot be listed.
    """
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise UserError(f"cannot list {shown(str(folder))}: {error.strerror}") from error
    return _walk(str(folder), "")


def _sibling(path: pathlib.Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean '{path.with_name(close[0])}'?" if close else ""


def _of_folder(base: pathlib.Path) -> Listing:
    folders = _folders(base)
    parts = {name: _SPLITS[name.lower()] for name in folders if name.lower() in _SPLITS}
    others = set(folders) - set(parts)
    if others and len(parts) > 1:
        raise UserError(
            f"{base} has sub-folders named as splits and also '{min(others)}': keep only train, "
            "val and test (or query and gallery) there, or only a sub-folder for each class"
        )
    if folders and not others:
        images = [
            ListedImage(path, label, split)
            for part, split in parts.items()
            for label in _folders(base / part)
            for path in _walk(str(base), f"{part}/{label}")
        ]
    else:
        images = [
            ListedImage(path, label, "") for label in folders for path in _walk(str(base), label)
        ]
    if not images:
        raise ArgumentError(
            "path",
            f"no image is in the sub-folders of {base}; a folder of images has a sub-folder for "
            "each class",
        )
    return Listing(base, images)


def _folders(folder: pathlib.Path) -> list[str]:
    return [entry.name for entry in _visible(str(folder)) if _is_folder(entry)]


def _visible(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where nothing may be looked at
        return False


def _walk(base: str, start: str) -> Iterator[str]:
    """The images below `base`/`start`, by their paths below `base`; without recursion."""
    parents = pathlib.Path(base, start).absolute().parents
    waiting = [(start, True, frozenset(map(_identity, parents)))]
    while waiting:
        path, is_folder, above = waiting.pop()
        if not is_folder:
            yield path
            continue
        folder = os.path.join(base, path)
        try:
            identity, inside = _identity(folder), _visible(folder)
        except OSError:
            yield path
            continue
        if identity in above:  # a link to a folder that it lies in
            continue
        for entry in reversed(inside):
            inner = os.path.join(path, entry.name)
            if _is_folder(entry):
                waiting.append((inner, True, above | {identity}))
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                waiting.append((inner, False, above))


def _identity(folder: str | pathlib.Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _of_csv(path: pathlib.Path, asked: dict[str, str]) -> Listing:
    label, domain, instance = (
        asked.get(option, "") for option in ("label_column", "domain_column", "instance_column")
    )
    images = [
        ListedImage(
            row["path"],
            row[label],
            row.get("split", "").lower(),
            row[domain] if domain else "",
            row[instance] if instance else "",
        )
        for row in rows(path, asked)
    ]
    base, paths = path.absolute().parent, [image.path for image in images]
    refuse(path, "no label", (i.path for i in images if not i.label))
    check_paths(path, paths)
    absent = missing(base, paths)
    windows = " (folders are parted by '/')" if any("\\" in name for name in absent) else ""
    refuse(path, f"a file that is not there{windows}", absent)
    if any(image.split for image in images):
        wrong = (f"'{i.split}' for {i.path}" for i in images if i.split not in _SPLITS)
        refuse(path, "a split other than train, val or test (or query or gallery)", wrong)
    if domain:
        unnamed = (image.path for image in images if not image.domain)
        refuse(path, f"no value in '{domain}' (domain_column)", unnamed)
    return Listing(base, [image._replace(split=_SPLITS.get(image.split, "")) for image in images])
