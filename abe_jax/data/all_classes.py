"""Training on every class that is not the test's: nothing is kept for validation."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from abe_jax.data.annotations import Annotations
from abe_jax.data.split import Joined, Split
from abe_jax.errors import ArgumentError


def without_validation(read: Callable[[str], Split], name: str) -> Callable[[str], Split]:
    """`read` of a data set whose validation classes, if it has its own, are training classes.

    Args:
        read: of a data set by name, that keeps no training classes for validation.
        name: the data set's, for messages.
    """

    def joined(split: str) -> Split:
        if split == "val":
            raise ArgumentError(
                "validate", f"False, so {name} keeps no class for validation; set it to True"
            )
        return _all_classes(read) if split == "train" else read(split)

    return joined


def _all_classes(read: Callable[[str], Split]) -> Split:
    train = read("train")
    try:
        val = read("val")
    except ArgumentError as error:
        if error.argument != "validation_classes":
            raise
        return train  # the set has no validation images of its own
    return both(train, val)


def both(train: Split, val: Split) -> Split:
    """Two splits of disjoint classes as one; the second's classes are numbered behind the first's.

    So are its objects and captures, whose numbers mean something within their own split alone.
    Groups are numbered over the whole data set and stay.
    """
    return Split(
        name=train.name,
        records=Joined([train.records, val.records]),
        labels=np.concatenate([train.labels, val.labels + np.int32(len(train.class_names))]),
        groups=_appended(train.groups, val.groups),
        class_names=train.class_names + val.class_names,
        group_names=train.group_names,
        paths=train.paths + val.paths,
        object_ids=_appended(train.object_ids, val.object_ids, renumbered=True),
        captures=_appended(train.captures, val.captures, renumbered=True),
        cameras=_appended(train.cameras, val.cameras),
        annotations=_annotations(train.annotations, val.annotations),
        point_pairs=train.point_pairs,
        attribute_names=train.attribute_names,
        notes=tuple(dict.fromkeys(train.notes + val.notes)),
    )


def _appended(
    first: Int[np.ndarray, " n"] | None,
    second: Int[np.ndarray, " k"] | None,
    *,
    renumbered: bool = False,
) -> Int[np.ndarray, " nk"] | None:
    if first is None or second is None:
        return None
    behind = int(first.max(initial=-1)) + 1 if renumbered else 0
    return np.concatenate([first, second + np.int32(behind)])


def _annotations(first: Annotations | None, second: Annotations | None) -> Annotations | None:
    if first is None or second is None:
        return None
    columns = zip(first, second, strict=True)
    return Annotations(
        *(None if a is None or b is None else np.concatenate([a, b]) for a, b in columns)
    )
