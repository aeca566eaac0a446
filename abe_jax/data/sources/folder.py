"""Images of the user's own, in a folder or named by a CSV file, as class-disjoint splits."""

import dataclasses
import pathlib
from collections.abc import Collection, Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Int

from abe_jax.data.annotations import Annotations
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import class_splits
from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.image_files import Files
from abe_jax.data.sources.listing import ListedImage, Listing, listing
from abe_jax.data.sources.point_column import pairs_of
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError

_SIDES = {"query": "test", "gallery": "test"}


def prepare(options: SourceOptions) -> pathlib.Path:
    """Checks that the images can be divided as asked; nothing is written anywhere."""
    listed = _listing(options)
    _classes(listed, options)
    return listed.base


def read(options: SourceOptions, split: str) -> Split:
    """One split of the images of `options.path`; no class is in two of them.

    Where the data names no splits, the classes, ordered by the SHA-256 of their names, are
    divided: the last `test_share` of them are the test classes. Where it names no validation
    images, the last `validation_classes` of the training classes in that order are `val`.
    Where it names a query and a gallery side, both are the test, and the gallery is `gallery`.

    Raises:
        UserError: a class in two splits, a split without a class, one side of a test without the
            other, or the errors of `listing`.
    """
    listed = _listing(options)
    classes = _classes(listed, options)[split]
    if not classes:
        raise _empty(split, options)
    images = [listed.images[row] for row in _of_classes(listed, classes)]
    gallery = _gallery(images, options.path)
    return dataclasses.replace(_split(listed, classes, options), name=split, gallery=gallery)


def all_images(options: SourceOptions) -> Split:
    """All images of `options.path` to train on, whatever splits the data name.

    Raises:
        UserError: the errors of `listing`.
    """
    listed = _listing(options)
    return _split(listed, {image.label for image in listed.images}, options)


def _split(listed: Listing, classes: Collection[str], options: SourceOptions) -> Split:
    """The images of some classes, without a gallery."""
    numbers = {name: number for number, name in enumerate(sorted(classes, key=_reading_order))}
    rows, points = _of_classes(listed, numbers), listed.points
    images = [listed.images[row] for row in rows]
    named = sorted({image.domain for image in listed.images} - {""}, key=_reading_order)
    domains = {name: number for number, name in enumerate(named)}
    groups = np.array([domains[image.domain] for image in images], np.int32) if domains else None
    return Split(
        name="train",
        records=Files(listed.base.absolute(), [image.path for image in images]),
        labels=np.array([numbers[image.label] for image in images], np.int32),
        groups=groups,
        class_names=tuple(map(shown, numbers)),
        group_names=tuple(map(shown, domains)),
        paths=tuple(shown(image.path) for image in images),
        object_ids=_object_ids(images) if options.instance_column else None,
        captures=_captures(images) if options.capture_column else None,
        cameras=_numbered([i.camera for i in images]) if options.camera_column else None,
        annotations=None if points is None else Annotations(points=points[rows]),
        point_pairs=() if points is None else pairs_of(options.point_pairs, points.shape[1]),
        notes=tuple(listed.notes),
    )


def _of_classes(listed: Listing, classes: Collection[str]) -> list[int]:
    """The rows of the images of some classes."""
    chosen = set(classes)
    return [row for row, image in enumerate(listed.images) if image.label in chosen]


def default_validation_classes(options: SourceOptions) -> int:
    """`share_for_validation` of its classes; 0 where it names validation images of its own."""
    parts = _classes(_listing(options), options)
    return 0 if parts["val"] else class_splits.share_for_validation(len(parts["train"]))


def _listing(options: SourceOptions) -> Listing:
    listed = listing(
        options.path,
        options.label_column,
        options.domain_column,
        options.instance_column,
        options.capture_column,
        options.camera_column,
        points_column=options.points_column,
    )
    if listed.points is not None:
        pairs_of(options.point_pairs, listed.points.shape[1])
    return listed


def _object_ids(images: Sequence[ListedImage]) -> Int[np.ndarray, " n"]:
    """A number for each image, alike for images of one class and one instance.

    An image whose instance is not named is alone (a distractor, say).
    """
    return _numbered([(image.label, image.instance or f"\0{image.path}") for image in images])


def _captures(images: Sequence[ListedImage]) -> Int[np.ndarray, " n"]:
    """A number for each image, alike for images of one capture; one without a name is alone."""
    return _numbered([image.capture or f"\0{image.path}" for image in images])


def _numbered(names: Sequence[Hashable]) -> Int[np.ndarray, " n"]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int32)


def _gallery(images: Sequence[ListedImage], path: str) -> Bool[np.ndarray, " n"] | None:
    """Which images of a split are its gallery; None where they are not of the two sides."""
    sides = {image.split for image in images}
    if not sides & set(_SIDES):
        return None
    missing = set(_SIDES) - sides
    if missing or sides - set(_SIDES):
        reason = f"no image of '{min(missing)}'" if missing else "images of 'test' as well"
        raise UserError(
            f"{path} names a query and a gallery side of its test, and {reason}: a test has "
            "images of both, or is called 'test' alone"
        )
    return np.array([image.split == "gallery" for image in images])


def _classes(listed: Listing, options: SourceOptions) -> dict[str, list[str]]:
    """The classes of each split."""
    if any(image.split for image in listed.images):
        parts = _named(listed.images, options.path)
    else:
        labels = {image.label for image in listed.images}
        parts = class_splits.divided(labels, options.test_share, options.path)
    return class_splits.with_validation(parts, options.validation_classes, options.path)


def _named(images: Sequence[ListedImage], path: str) -> dict[str, list[str]]:
    parts = {name: set[str]() for name in ("train", "val", "test")}
    for image in images:
        parts[_SIDES.get(image.split, image.split)].add(image.label)
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        shared = parts[one] & parts[other]
        if shared:
            raise UserError(
                f"{path} has classes both in {one} and in {other} ({len(shared)}, the first "
                f"'{min(shared)}'): a class is for one of them; without splits in the data "
                "(one folder of classes, or no column 'split'), test_share divides the classes"
            )
    return {name: sorted(labels, key=class_splits.fixed_order) for name, labels in parts.items()}


def _reading_order(name: str) -> tuple[int, int, str]:
    # Python makes no number of more than 4,300 digits.
    is_number = name.isdecimal() and len(name) < 1000
    return (0, int(name), name) if is_number else (1, 0, name)


def _empty(split: str, options: SourceOptions) -> UserError:
    if split == "val":
        return class_splits.no_validation(options.path)
    if options.test_share == 1:
        return ArgumentError(
            "test_share", f"1 leaves no class of {options.path} for the split '{split}'"
        )
    return UserError(
        f"{options.path} names splits, but no image of '{split}': name some, or no splits at all, "
        "so that test_share divides the classes"
    )
