"""Which images a folder or a CSV file names for an index, as rows that tell a changed file."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from abe_jax.data.sources import csv_file, image_kinds, walking
from abe_jax.data.sources.absent import ExistingNames
from abe_jax.data.sources.labels import joined, label_of, one_form, split_folders
from abe_jax.errors import ArgumentError, UserError
from abe_jax.files import expanded
from abe_jax.index.segments import ImageRow

# Metadata by which a file is known again: without being read, and by its content. No column may be
# called so. The last is the BLAKE2b of the bytes that were embedded, 128 bits in hexadecimal.
BYTES, CHANGED, DIGEST = "file_bytes", "file_changed_ns", "file_blake2b"


class ImageList(NamedTuple):
    """Images to be indexed, and files whose size cannot even be asked for: path -> reason.

    `notes` says what was left out and which labels were made one, a line each. `by_folder`: labels
    are the names of folders, no one wrote them down. `folder` is the one that all of them are in.
    """

    rows: list[ImageRow]
    unreadable: dict[str, str]
    notes: Sequence[str] = ()
    by_folder: bool = False
    folder: str = ""


class _Named(NamedTuple):
    """What a folder or a CSV file names: path, label and metadata of each image; notes."""

    images: Sequence[tuple[str, str, Mapping[str, str]]]
    notes: Sequence[str] = ()


def list_images(path: Path, label_column: str | None = None) -> ImageList:
    """The images at `path`, by absolute paths in a fixed order.

    Of a folder: every image below it at any depth, with its class as label, as training sees it
    (`data.sources.labels` has the rule). `data.sources.walking` says which files count. Of a CSV
    file: the column `path` (below the file's own folder), `label_column` or, if it is there,
    `label`, all others as metadata. Or one image.

    Raises:
        UserError: nothing is there, no image is named, or a column that is not there.
    """
    path = Path(os.path.abspath(expanded(path)))
    if label_column and (path.is_dir() or _kind(path) == "image"):
        raise ArgumentError(
            "label_column",
            f"needs a CSV file; {csv_file.shown(str(path))} has no columns",
        )
    named = _images(path, label_column)
    if not named.images:
        left_out = "".join(f"; {note}" for note in named.notes)
        raise UserError(f"{csv_file.shown(str(path))}: no image is named or lies there{left_out}")
    forms = one_form(label for _, label, _ in named.images)
    rows, unreadable = list[ImageRow](), dict[str, str]()
    existing = ExistingNames(path.parent)
    for image, label, others in named.images:
        stamp = _stamp(image)
        if isinstance(stamp, str):
            unreadable[image] = stamp + existing.under_another_name(image)
        else:
            rows.append(ImageRow(image, forms.get(label, label), {**others, **stamp}))
    notes = [*named.notes, *joined(forms, "class")]
    folder = path if path.is_dir() else path.parent
    return ImageList(rows, unreadable, notes, path.is_dir(), str(folder))


def _images(path: Path, label_column: str | None) -> _Named:
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise UserError(f"{csv_file.shown(str(path))}: no such folder or file")
    if path.suffix.lower() == ".csv":
        return _Named(_of_csv(path, label_column))
    kind = _kind(path)
    if kind == "image":
        return _Named([(str(path), "", {})])
    reads = f"; it is HEIC, which the package {image_kinds.HEIC_PACKAGE} reads"
    raise UserError(
        f"{csv_file.shown(str(path))}: is no folder, no .csv file and no image"
        f"{reads if kind == 'heic' else ''}"
    )


def _kind(path: Path) -> image_kinds.Kind:
    return image_kinds.kind(str(path))


def _of_folder(folder: Path) -> _Named:
    left_out = walking.LeftOut()
    paths = list(walking.below(folder, left_out))
    splits = split_folders(walking.folders(folder))
    labels = [label_of(path, splits) for path in paths]
    empty = {label_of(f"{inside}/", splits) for inside in left_out.inside} - {"", *labels}
    images = [
        (os.path.join(folder, path), label, {}) for path, label in zip(paths, labels, strict=True)
    ]
    return _Named(images, left_out.lines(empty))


def _of_csv(path: Path, label_column: str | None) -> list[tuple[str, str, Mapping[str, str]]]:
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
    except ValueError:  # a zero in the path, which no file system has
        return "no file"
    if not stat.S_ISREG(about.st_mode):  # a pipe would never end
        return "no file"
    return {BYTES: str(about.st_size), CHANGED: str(about.st_mtime_ns)}
