"""What a folder of images or a CSV file says of its images: path, class, split and domain."""

import csv
import difflib
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from abe_jax.config import nearest
from abe_jax.errors import UserError

# What OpenCV decodes to 8 or 16 bits; in lower case.
SUFFIXES = frozenset(
    (".avif", ".bmp", ".dib", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png")
) | frozenset((".pnm", ".ppm", ".tif", ".tiff", ".webp"))
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Image(NamedTuple):
    """One image: its path below the base, the name of its class, its split or '', its domain."""

    path: str
    label: str
    split: str
    domain: str = ""


class Listing(NamedTuple):
    """All images below one base, by rising path (of a CSV file: in its order)."""

    base: pathlib.Path
    images: list[Image]


def listing(path: str, label_column: str, domain_column: str = "") -> Listing:
    """The images that a folder or a CSV file names; no image is opened.

    A folder holds a sub-folder for each class (`CLASS/**/image.jpg`), or such class folders in
    sub-folders called train, val and test. Hidden files, other files and images outside of class
    folders are left out; links are followed. A CSV file has the columns `path` (below the file's
    own folder), `label_column`, if it names splits `split`, and `domain_column` where one is asked.

    Raises:
        UserError: nothing at `path`, or what is there cannot be understood.
    """
    if not path:
        raise UserError(
            "config.data.path: the data set 'folder' needs the path of a folder of images "
            "or of a CSV file"
        )
    chosen = pathlib.Path(path).expanduser()
    if not chosen.exists():
        raise UserError(f"config.data.path: nothing is at {chosen}{_sibling(chosen)}")
    if domain_column and chosen.is_dir():
        raise UserError(
            f"config.data.domain_column: {chosen} is a folder, and only a CSV file has columns; "
            "set config.data.path to a CSV file with the columns 'path', "
            f"'{label_column}' and '{domain_column}'"
        )
    try:
        if chosen.is_dir():
            return _of_folder(chosen)
        return _of_csv(chosen, label_column, domain_column)
    except OSError as error:
        raise UserError(
            f"config.data.path: cannot read {error.filename or chosen}: {error}"
        ) from error


def _sibling(path: pathlib.Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean '{path.with_name(close[0])}'?" if close else ""


def _of_folder(base: pathlib.Path) -> Listing:
    folders = _folders(base)
    others = set(folders) - set(_SPLITS)
    if others and len(set(folders) & set(_SPLITS)) > 1:
        raise UserError(
            f"{base} has sub-folders named as splits and also '{min(others)}': keep only train, "
            "val and test there, or only a sub-folder for each class"
        )
    if folders and not others:
        images = [
            Image(f"{part}/{label}/{path}", label, _SPLITS[part])
            for part in folders
            for label in _folders(base / part)
            for path in _below(base / part / label)
        ]
    else:
        images = [Image(f"{c}/{path}", c, "") for c in folders for path in _below(base / c)]
    if not images:
        raise UserError(
            f"config.data.path: no image is in the sub-folders of {base}; "
            "a folder of images has a sub-folder for each class"
        )
    return Listing(base, images)


def _folders(folder: pathlib.Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def _below(folder: pathlib.Path) -> Iterator[str]:
    """The images in a folder and all its sub-folders, by their paths below it."""
    return _walk(str(folder), "", (os.path.realpath(folder.parent),))


def _walk(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        if entry.is_dir():
            yield from _walk(entry.path, f"{prefix}{entry.name}/", (*above, real))
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield prefix + entry.name


def _of_csv(path: pathlib.Path, label_column: str, domain_column: str) -> Listing:
    base = path.absolute().parent
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file in UTF-8 ({error})") from error
    asked = {
        "path": "path",
        "config.data.label_column": label_column,
        "config.data.domain_column": domain_column or label_column,
    }
    for name, wanted in asked.items():
        if wanted not in columns:
            raise UserError(f"{path} has no column '{wanted}' ({name}); {nearest(wanted, columns)}")
    images = [
        Image(
            os.path.relpath(base / (row["path"] or ""), base),
            (row[label_column] or "").strip(),
            (row.get("split") or "").strip().lower(),
            (row[domain_column] or "").strip() if domain_column else "",
        )
        for row in rows
    ]
    _check_rows(path, base, images)
    if domain_column:
        unnamed = (image.path for image in images if not image.domain)
        _refuse(path, f"no value in '{domain_column}' (config.data.domain_column)", unnamed)
    return Listing(base, [image._replace(split=_SPLITS.get(image.split, "")) for image in images])


def _check_rows(path: pathlib.Path, base: pathlib.Path, images: list[Image]) -> None:
    if not images:
        raise UserError(f"{path} has no rows")
    paths = [image.path for image in images]
    _refuse(path, "no label", (i.path for i in images if not i.label))
    outside = (p for p in paths if p == "." or p.startswith(".."))
    _refuse(path, f"an image outside of {base}", outside)
    seen: set[str] = set()
    _refuse(path, "an image named before", (p for p in paths if p in seen or seen.add(p)))
    _refuse(path, "a file that is not there", _missing(base, paths))
    if any(image.split for image in images):
        wrong = (f"'{i.split}' for {i.path}" for i in images if i.split not in _SPLITS)
        _refuse(path, "a split other than train, val or test", wrong)


def _missing(base: pathlib.Path, paths: list[str]) -> list[str]:
    # One listing for each folder: asking for every file takes minutes on a distant disk.
    there: dict[str, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in there:
            inside = base / folder
            there[folder] = frozenset(os.listdir(inside) if inside.is_dir() else ())
        if name not in there[folder] and not (base / path).exists():
            missing.append(path)
    return missing


def _refuse(path: pathlib.Path, what: str, found: Iterable[str]) -> None:
    listed = list(found)
    if listed:
        rows = "a row" if len(listed) == 1 else f"{len(listed)} rows"
        raise UserError(f"{path}: {rows} with {what}, the first: {listed[0]}")
