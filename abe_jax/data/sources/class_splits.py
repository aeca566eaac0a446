"""Which classes are for training, validation and the test, where the data does not say."""

import hashlib
import os
from collections.abc import Iterable
from typing import TypeVar

from abe_jax.errors import ArgumentError, UserError

Class = TypeVar("Class", str, int)


def divided(labels: Iterable[str], share: float, where: str) -> dict[str, list[str]]:
    """The classes of each split: the last `share` of them, in a fixed order, are the test's.

    A share of 1 leaves none to train on: a model that was trained elsewhere is tested on them all.

    Raises:
        UserError: the data at `where` has one class.
        ArgumentError: of `test_share`: a split would have no class.
    """
    classes = sorted(labels, key=fixed_order)
    if share == 1:
        return {"train": [], "val": [], "test": classes}
    if len(classes) < 2:
        raise UserError(
            f"{where} has one class, '{classes[0]}': training and testing need two at least"
        )
    test = round(share * len(classes))
    if not 1 <= test < len(classes):
        least, digits = 1 / len(classes), max(3, len(str(len(classes))))
        raise ArgumentError(
            "test_share",
            f"{share} would give the test {test} of {len(classes)} classes; from "
            f"{least:.{digits}f} to {1 - least:.{digits}f} leaves classes on both sides",
        )
    return {"train": classes[:-test], "val": [], "test": classes[-test:]}


def with_validation(
    parts: dict[str, list[Class]], number: int, where: str
) -> dict[str, list[Class]]:
    """The splits with the last `number` of the training classes as `val`; 0: as they are.

    Raises:
        ArgumentError: of `validation_classes`: there are validation classes already, or none would
            be left to train on.
    """
    if not number:
        return parts
    train = parts["train"]
    if parts["val"]:
        raise ArgumentError(
            "validation_classes",
            f"{number}, but {where} has validation classes of its own: leave it at 0",
        )
    if not 0 <= number < len(train):
        raise ArgumentError(
            "validation_classes",
            f"{number}, but {where} has {len(train)} training classes, of which 0 to "
            f"{max(0, len(train) - 1)} can be kept for validation",
        )
    return parts | {"train": train[:-number], "val": train[-number:]}


def share_for_validation(classes: int) -> int:
    """How many of so many training classes validate where nobody says: a tenth, but at least ten.

    Ten classes of a thousand are told apart by any network, and choose no checkpoint. Never more
    than a fifth, so that few classes are left to train on, and one at least of two or more.
    """
    return max(1, min(max(10, classes // 10), classes // 5)) if classes > 1 else 0


def no_validation(where: str) -> ArgumentError:
    """The error of asking for `val` where there is none."""
    return ArgumentError(
        "validation_classes",
        f"{where} has no validation images of its own: set it to the number of training classes "
        "to keep for validation, say 10",
    )


def fixed_order(name: str) -> bytes:
    """A key that orders classes the same way everywhere.

    Neighbours in the alphabet are often alike; this mixes them, and a class that comes or goes
    leaves the order of the others.
    """
    return hashlib.sha256(os.fsencode(name)).digest()
