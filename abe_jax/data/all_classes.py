"""Training on every class that is not the test's: nothing is kept for validation."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from abe_jax.data.split import Records, Split
from abe_jax.errors import ArgumentError


class Joined:
    """Records of two splits, one behind the other, read when asked for."""

    def __init__(self, first: Records, second: Records):
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> bytes:
        behind = int(index) - len(self._first)
        return self._first[int(index)] if behind < 0 else self._second[behind]


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
        records=Joined(train.records, val.records),
        labels=np.concatenate([train.labels, val.labels + np.int32(len(train.class_names))]),
        groups=_appended(train.groups, val.groups),
        class_names=train.class_names + val.class_names,
        group_names=train.group_names,
        paths=train.paths + val.paths,
        object_ids=_appended(train.object_ids, val.object_ids, apart=True),
        captures=_appended(train.captures, val.captures, apart=True),
        notes=tuple(dict.fromkeys(train.notes + val.notes)),
    )


def _appended(
    first: Int[np.ndarray, " n"] | None, second: Int[np.ndarray, " k"] | None, apart: bool = False
) -> Int[np.ndarray, " nk"] | None:
    if first is None or second is None:
        return None
    behind = int(first.max(initial=-1)) + 1 if apart else 0
    return np.concatenate([first, second + np.int32(behind)])
