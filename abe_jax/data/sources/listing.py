"""What a folder of images or a CSV file says of its images: path, class, split and more.

Where images need no classes, `walking.below` lists a folder's and `csv_file.table` a CSV file's.
Names are what the file system has: any script, and bytes that are no text as lone surrogates (PEP
383), of which `csv_file.shown` makes a line of text.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from abe_jax.data.sources import walking
from abe_jax.data.sources.absent import ExistingNames, missing
from abe_jax.data.sources.csv_file import check_paths, refuse, rows, shown
from abe_jax.data.sources.labels import SPLITS, joined, label_of, one_form, split_folders
from abe_jax.data.sources.point_column import points_of
from abe_jax.data.sources.walking import LeftOut
from abe_jax.errors import ArgumentError, UserError, closest
from abe_jax.files import expanded

COLUMNS = (
    "label_column",
    "domain_column",
    "instance_column",
    "capture_column",
    "camera_column",
    "points_column",
)
_NAMES = {"label": "class", "domain": "domain", "instance": "object", "capture": "capture"}
_NAMES |= {"camera": "camera"}


class ListedImage(NamedTuple):
    """One image: its path below the base, and what is said of it; '' where nothing is."""

    path: str
    label: str
    split: str  # train | val | test | query | gallery
    domain: str = ""
    instance: str = ""  # which object of its class it shows
    capture: str = ""  # images of one are nearly the same photograph
    camera: str = ""  # which took it


class Listing(NamedTuple):
    """All images below one base, by rising path (of a CSV file: in its order)."""

    base: pathlib.Path
    images: list[ListedImage]
    notes: Sequence[str] = ()  # what was left out and which names were made one, a line each
    points: Float[np.ndarray, "n k 3"] | None = None  # of each image, see `point_column`


def listing(
    path: str,
    label_column: str,
    domain_column: str = "",
    instance_column: str = "",
    capture_column: str = "",
    camera_column: str = "",
    *,
    points_column: str = "",
) -> Listing:
    """All images that a folder or a CSV file names, with their classes; no image is opened.

    A folder holds a sub-folder for each class (`CLASS/**/image.jpg`), or such class folders in
    sub-folders called train, val and test (or query and gallery), in any case: `labels` has the
    rule, `walking.below` says which files count. Images outside of class folders are left out. A
    CSV file has the columns `path` (below the file's own folder), `label_column`, `split` if it
    names splits, and `domain_column`, `instance_column`, `capture_column`, `camera_column` and
    `points_column` where they are asked for.

    Raises:
        UserError: nothing is at `path`, or what is there cannot be understood.
    """
    if not path:
        raise ArgumentError(
            "path",
            "the data set 'folder' needs the path of a folder of images or of a CSV file",
        )
    chosen = expanded(path)
    if not chosen.exists():
        raise ArgumentError("path", f"nothing is at {chosen}{_sibling(chosen)}")
    asked = (label_column, domain_column, instance_column, capture_column, camera_column)
    named = zip(COLUMNS, (*asked, points_column), strict=True)
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


def _sibling(path: pathlib.Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = closest(path.name, names)
    return f"; did you mean '{path.with_name(close)}'?" if close else ""


def _of_folder(base: pathlib.Path) -> Listing:
    left_out = LeftOut()
    folders = walking.folders(base, left_out)
    splits = split_folders(folders)
    others = set(folders) - set(splits)
    if splits and others:
        raise UserError(
            f"{base} has sub-folders named as splits and also '{min(others)}': keep only train, "
            "val and test (or query and gallery) there, or only a sub-folder for each class"
        )
    parts = [(f"{name}/", split) for name, split in splits.items()] or [("", "")]
    images = [
        ListedImage(path, label, split)
        for part, split in parts
        for label in (walking.folders(base / part, left_out) if part else folders)
        for path in walking.walk(str(base), f"{part}{label}", left_out)
    ]
    for part, _ in parts:
        left_out.outside(walking.images_in(base / part))
    empty = {label_of(f"{folder}/", splits) for folder in left_out.inside}
    notes = left_out.lines(empty - {image.label for image in images})
    if not images:
        raise ArgumentError(
            "path",
            f"no image is in the sub-folders of {base}; a folder of images has a sub-folder for "
            f"each class{''.join(f'; {note}' for note in notes)}",
        )
    return _in_one_form(Listing(base, images, notes))


def _in_one_form(listed: Listing) -> Listing:
    """The listing with each name in one Unicode form where it is there in several."""
    images, notes = listed.images, list(listed.notes)
    for field, what in _NAMES.items():
        forms = one_form(getattr(image, field) for image in images)
        if forms:
            images = [
                image._replace(**{field: forms.get(getattr(image, field), getattr(image, field))})
                for image in images
            ]
            notes += joined(forms, what)
    return listed._replace(images=images, notes=notes)


def _of_csv(path: pathlib.Path, asked: dict[str, str]) -> Listing:
    label, domain, instance, capture, camera, points = (asked.get(name, "") for name in COLUMNS)
    listed = rows(path, asked)
    images = [
        ListedImage(
            row["path"],
            row[label],
            row.get("split", "").lower(),
            row[domain] if domain else "",
            row[instance] if instance else "",
            row[capture] if capture else "",
            row[camera] if camera else "",
        )
        for row in listed
    ]
    base, paths = path.absolute().parent, [image.path for image in images]
    refuse(path, "no label", (i.path for i in images if not i.label))
    check_paths(path, paths)
    absent = missing(base, paths)
    windows = " (folders are parted by '/')" if any("\\" in name for name in absent) else ""
    names = ExistingNames(base)
    refuse(path, f"a file that is not there{windows}", absent, names.nearest)
    if any(image.split for image in images):
        wrong = (f"'{i.split}' for {i.path}" for i in images if i.split not in SPLITS)
        refuse(path, "a split other than train, val or test (or query or gallery)", wrong)
    for field, column in (("domain", domain), ("camera", camera)):
        if column:
            unnamed = (image.path for image in images if not getattr(image, field))
            refuse(path, f"no value in '{column}' ({field}_column)", unnamed)
    images = [image._replace(split=SPLITS.get(image.split, "")) for image in images]
    cells = [row[points] for row in listed] if points else []
    found = points_of(path, points, paths, cells) if points else None
    return _in_one_form(Listing(base, images, points=found))
