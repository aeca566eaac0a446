"""Which images a folder or a CSV file names for an index, as rows that tell a changed file."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from abe_jax.data.sources import csv_file
from abe_jax.data.sources.listing import SUFFIXES, below
from abe_jax.errors import ArgumentError, UserError
from abe_jax.index.segments import ImageRow

# Metadata by which a file is known again: without being read, and by its content. No column may be
# called so. The last is the BLAKE2b of the bytes that were embedded, 128 bits in hexadecimal.
BYTES, CHANGED, DIGEST = "file_bytes", "file_changed_ns", "file_blake2b"


class ImageList(NamedTuple):
    """Images to be indexed, and files whose size cannot even be asked for: path -> reason."""

    rows: list[ImageRow]
    unreadable: dict[str, str]


def list_images(path: Path, label_column: str | None = None) -> ImageList:
    """The images at `path`, by absolute paths in a fixed order; none is opened.

    Of a folder: every image below it at any depth, hidden ones left out; the label is the path of
    its own folder below it, and '' at the top. Of a CSV file: the column `path` (below the file's
    own folder), `label_column` or, if it is there, `label`, all others as metadata. Or one image.

    Raises:
        UserError: nothing is there, no image is named, or a column that is not there.
    """
    path = Path(os.path.abspath(path.expanduser()))
    if label_column and (path.is_dir() or path.suffix.lower() in SUFFIXES):
        raise ArgumentError(
            "label_column",
            f"needs a CSV file; {csv_file.shown(str(path))} has no columns",
        )
    images = _images(path, label_column)
    if not images:
        raise UserError(f"{csv_file.shown(str(path))}: no image is named or lies there")
    rows, unreadable = [], {}
    for image, label, others in images:
        stamp = _stamp(image)
        if isinstance(stamp, str):
            unreadable[image] = stamp
        else:
            rows.append(ImageRow(image, label, {**others, **stamp}))
    return ImageList(rows, unreadable)


def _images(path: Path, label_column: str | None) -> list[tuple[str, str, Mapping[str, str]]]:
    if path.is_dir():
        return [(os.path.join(path, p), os.path.dirname(p), {}) for p in below(path)]
    if not path.exists():
        raise UserError(f"{csv_file.shown(str(path))}: no such folder or file")
    if path.suffix.lower() in SUFFIXES:
        return [(str(path), "", {})]
    if path.suffix.lower() != ".csv":
        raise UserError(f"{csv_file.shown(str(path))}: is no folder, no .csv file and no image")
    listed = csv_file.table(path, label_column)
    for name in (BYTES, CHANGED, DIGEST):
        if any(name in image.others for image in listed):
            raise UserError(f"{path}: a column may not be called '{name}', which the index fills")
    base = os.path.dirname(path)
    return [(os.path.join(base, image.path), image.label, image.others) for image in listed]


def _stamp(path: str) -> dict[str, str] | str:
    """Size and time of the last change of a file, or why it cannot be read."""
    try:
        about = os.stat(path)
    except OSError as error:
        return error.strerror or "cannot be read"
    if not stat.S_ISREG(about.st_mode):  # a pipe would never end
        return "no file"
    return {BYTES: str(about.st_size), CHANGED: str(about.st_mtime_ns)}
