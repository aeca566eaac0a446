"""Images of the user's own, in a folder or named by a CSV file, as class-disjoint splits."""

import hashlib
import os
import pathlib
import stat
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from jaxtyping import Bool

from abe_jax.config import Data
from abe_jax.data import object_ids
from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.listing import Image, Listing, listing
from abe_jax.data.split import Split
from abe_jax.errors import UserError

_SIDES = {"query": "test", "gallery": "test"}
MOST_BYTES = 2**29  # of one file: memory is not taken for more


class Files(Sequence[bytes]):
    """The bytes of files below a base, each read when asked for; thread-safe.

    What cannot be read, is no plain file (a pipe would never end) or has more than MOST_BYTES is
    empty: it counts as an unreadable image and does not end a run.
    """

    def __init__(self, base: pathlib.Path, paths: Sequence[str]):
        self._base, self._paths = base, paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "Files": ...

    def __getitem__(self, index: int | slice) -> "bytes | Files":
        if isinstance(index, slice):
            return Files(self._base, self._paths[index])
        return read(self._base / self._paths[index])


def read(path: pathlib.Path) -> bytes:
    """The bytes of one file as `Files` gives them."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                return b""
            return file.read(MOST_BYTES)
    except OSError:
        return b""


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a pipe would wait for who writes to it


def _listing(data: Data) -> Listing:
    return listing(data.path, data.label_column, data.domain_column, data.instance_column)


def prepare(data: Data) -> pathlib.Path:
    """Checks that the images can be divided as configured; nothing is written anywhere."""
    found = _listing(data)
    _classes(found, data)
    return found.base


def load(data: Data, split: str) -> Split:
    """One part of the images of `data.path`; no class is in two parts.

    Where the data names no splits, the classes, ordered by the SHA-256 of their names, are
    divided: the last `data.test_share` of them are the test classes. Where it names no validation
    images, the last `data.validation_classes` of the training classes in that order are `val`.
    Where it names a query and a gallery side, both are the test, and the gallery is `gallery`.

    Raises:
        UserError: a class in two splits, a split without a class, one side of a test without the
            other, or the errors of `listing`.
    """
    found = _listing(data)
    classes = _classes(found, data)[split]
    if not classes:
        raise UserError(_empty(split, data))
    places = {name: place for place, name in enumerate(sorted(classes, key=_reading_order))}
    images = [image for image in found.images if image.label in places]
    named = sorted({image.domain for image in found.images} - {""}, key=_reading_order)
    domains = {name: place for place, name in enumerate(named)}
    groups = np.array([domains[image.domain] for image in images], np.int32) if domains else None
    return Split(
        name=split,
        records=Files(found.base.absolute(), [image.path for image in images]),
        labels=np.array([places[image.label] for image in images], np.int32),
        groups=groups,
        class_names=tuple(map(shown, places)),
        group_names=tuple(map(shown, domains)),
        paths=tuple(shown(image.path) for image in images),
        objects=object_ids.of_names(images) if data.instance_column else None,
        gallery=_gallery(images, data),
    )


def _gallery(images: Sequence[Image], data: Data) -> Bool[np.ndarray, " n"] | None:
    """Which images of a split are its gallery; None where they are not of the two sides."""
    there = {image.split for image in images}
    if not there & set(_SIDES):
        return None
    missing = set(_SIDES) - there
    if missing or there - set(_SIDES):
        reason = f"no image of '{min(missing)}'" if missing else "images of 'test' as well"
        raise UserError(
            f"{data.path} names a query and a gallery side of its test, and {reason}: a test has "
            "images of both, or is called 'test' alone"
        )
    return np.array([image.split == "gallery" for image in images])


def _classes(found: Listing, data: Data) -> dict[str, list[str]]:
    """The classes of each split."""
    named = any(image.split for image in found.images)
    labels = {image.label for image in found.images}
    parts = _named(found.images, data) if named else divided(labels, data.test_share, data.path)
    if parts["val"] and data.validation_classes:
        raise UserError(
            f"{data.path} has validation images of its own: "
            "leave config.data.validation_classes at 0"
        )
    if not parts["val"] and data.validation_classes:
        kept = len(parts["train"]) - data.validation_classes
        if kept < 1:
            raise UserError(
                f"config.data.validation_classes is {data.validation_classes}: there are "
                f"{len(parts['train'])} training classes, of which at most "
                f"{max(0, len(parts['train']) - 1)} can be kept for validation"
            )
        parts["train"], parts["val"] = parts["train"][:kept], parts["train"][kept:]
    return parts


def _named(images: Sequence[Image], data: Data) -> dict[str, list[str]]:
    parts = {name: set[str]() for name in ("train", "val", "test")}
    for image in images:
        parts[_SIDES.get(image.split, image.split)].add(image.label)
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        shared = parts[one] & parts[other]
        if shared:
            raise UserError(
                f"{data.path} has classes both in {one} and in {other} ({len(shared)}, the first "
                f"'{min(shared)}'): a class is for one of them; without splits in the data "
                "(one folder of classes, or no column 'split'), config.data.test_share divides "
                "the classes"
            )
    return {name: sorted(labels, key=_fixed_order) for name, labels in parts.items()}


def divided(labels: Iterable[str], share: float, where: str) -> dict[str, list[str]]:
    """The classes of each split: the last `share` of them, in a fixed order, are the test's.

    A share of 1 leaves none to train on: a run from elsewhere is tested on them all.

    Raises:
        UserError: that names `where`: one class, or a split that would have none.
    """
    classes = sorted(labels, key=_fixed_order)
    if share == 1:
        return {"train": [], "val": [], "test": classes}
    if len(classes) < 2:
        raise UserError(
            f"{where} has one class, '{classes[0]}': training and testing need two at least"
        )
    test = round(share * len(classes))
    if not 1 <= test < len(classes):
        raise UserError(
            f"config.data.test_share is {share}: {test} of {len(classes)} classes would "
            f"be for the test; from {1 / len(classes):.3f} to {1 - 1 / len(classes):.3f} leaves "
            "classes on both sides"
        )
    return {"train": classes[:-test], "val": [], "test": classes[-test:]}


def _fixed_order(name: str) -> bytes:
    # Neighbours in the alphabet are often alike; this mixes them, the same way everywhere, and a
    # class that comes or goes leaves the order of the others.
    return hashlib.sha256(os.fsencode(name)).digest()


def _reading_order(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _empty(split: str, data: Data) -> str:
    if split == "val":
        return (
            f"{data.path} names no validation images: set config.data.validation_classes to the "
            "number of training classes to keep for it"
        )
    if data.test_share == 1:
        return f"config.data.test_share is 1: no class of {data.path} is left for '{split}'"
    return (
        f"{data.path} names splits, but no image of '{split}': name some, or no splits at all, "
        "for config.data.test_share to divide the classes"
    )
