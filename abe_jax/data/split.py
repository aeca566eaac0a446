"""The images of one part of a data set with what is known of each."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from abe_jax.data.annotations import Annotations


@runtime_checkable
class Records(Protocol):
    """Encoded images: `records[i]` is the bytes of one file, empty where it cannot be read."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> bytes:
        """The bytes of one, read when asked for; safe from several threads at once."""
        ...


class Chosen:
    """Some records of others: `records[rows[i]]`, read when asked for."""

    def __init__(self, records: Records, rows: Int[np.ndarray, " k"]):
        self._records, self._rows = records, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> bytes:
        return self._records[int(self._rows[index])]


class Joined:
    """Records of several splits, one behind the other: each is read when it is asked for."""

    def __init__(self, parts: Sequence[Records]):
        self._parts, self._ends = list(parts), np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> bytes:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self._parts[part][index - int(self._ends[part]) + len(self._parts[part])]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one part of a data set with their classes and, where they have them, groups."""

    name: str  # train | val | test | held
    records: Records
    labels: Int[np.ndarray, "n"]  # int32, 0..c-1, every class present (but in `held`)
    groups: Int[np.ndarray, "n"] | None = None  # int32, the domain; of glyphs: the type family
    class_names: tuple[str, ...]
    group_names: tuple[str, ...] = ()  # of the whole data set: a split may lack some of them
    paths: tuple[str, ...] = ()  # the file of each image, where images are files of the user's
    object_ids: Int[np.ndarray, "n"] | None = None  # int32; alike where images show one object
    captures: Int[np.ndarray, "n"] | None = None  # int32; alike where images are of one capture
    cameras: Int[np.ndarray, "n"] | None = None  # int32; alike where one camera took the images
    # True: a row of the gallery, the others are queries; None: every image is a query of all others
    gallery: Bool[np.ndarray, "n"] | None = None
    annotations: Annotations | None = None  # a row for each image
    point_pairs: tuple[tuple[int, int], ...] = ()  # of their points: left and right of the same
    attribute_names: tuple[str, ...] = ()  # of their attributes, in this order
    notes: tuple[str, ...] = ()  # what of the user's files was left out or made one, a line each


def chosen(split: Split, rows: Int[np.ndarray, " k"]) -> Split:
    """The images `rows` of a split, in that order; classes, groups, objects, captures and cameras
    keep their numbers.

    A class may then have no image.
    """
    return dataclasses.replace(
        split,
        records=Chosen(split.records, rows),
        labels=split.labels[rows],
        groups=None if split.groups is None else split.groups[rows],
        paths=tuple(split.paths[row] for row in rows) if split.paths else (),
        object_ids=None if split.object_ids is None else split.object_ids[rows],
        captures=None if split.captures is None else split.captures[rows],
        cameras=None if split.cameras is None else split.cameras[rows],
        gallery=None if split.gallery is None else split.gallery[rows],
        annotations=split.annotations and split.annotations.rows(rows),
    )


def subset(split: Split, rows: Int[np.ndarray, " k"]) -> Split:
    """`chosen` as a split of its own: classes without an image are dropped.

    The other classes are numbered anew in the same order; groups keep their numbers.
    """
    part = chosen(split, rows)
    present, labels = np.unique(part.labels, return_inverse=True)
    names = tuple(split.class_names[label] for label in present)
    return dataclasses.replace(part, labels=labels.astype(np.int32), class_names=names)
