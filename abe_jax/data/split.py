"""Prepared images on disk: TFDS records as a sequence of encoded bytes, with their labels."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Int

from abe_jax.errors import UserError


class EncodedImages:
    """The encoded images of a split: `records[i]` is the bytes of one file (PNG or JPEG).

    A view of one or several TFDS data sources, laid end to end, in the order of `rows`. Reading
    is thread-safe. A record that cannot be read raises `UserError` naming the data's folder.
    """

    def __init__(
        self, folder: pathlib.Path, sources: Sequence[Any], rows: np.ndarray, key: str = "image"
    ):
        self._folder, self._key = folder, key
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(source) for source in sources])
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> bytes:
        row = int(self._rows[index])
        source = int(np.searchsorted(self._ends, row, side="right"))
        start = int(self._ends[source - 1]) if source else 0
        with damage_named(self._folder):
            return self._sources[source][row - start][self._key]


class Chosen:
    """Some records of others: `records[rows[i]]`, read when asked for."""

    def __init__(self, records: "Records", rows: Int[np.ndarray, " k"]):
        self._records, self._rows = records, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> bytes:
        return self._records[int(self._rows[index])]


Records = EncodedImages | Chosen | Sequence[bytes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Images of one part of a data set with their classes and, where they have them, groups."""

    name: str  # train | val | test | held
    records: Records
    labels: Int[np.ndarray, "n"]  # int32, 0..c-1, every class present (but in `held`)
    groups: Int[np.ndarray, "n"] | None  # int32, the domain; of glyphs: the type family
    class_names: tuple[str, ...]
    group_names: tuple[str, ...] = ()  # of the whole data set: a split may lack some of them
    paths: tuple[str, ...] = ()  # where images are files of the user's: which each is
    objects: Int[np.ndarray, "n"] | None = None  # int32; alike where images show one object
    # True: a row of the gallery, the others are queries; None: every image asks all others
    gallery: Bool[np.ndarray, "n"] | None = None


def chosen(split: Split, rows: Int[np.ndarray, " k"]) -> Split:
    """The images `rows` of a split, in that order, classes, groups and objects numbered as before.

    A class may then have no image.
    """
    return dataclasses.replace(
        split,
        records=Chosen(split.records, rows),
        labels=split.labels[rows],
        groups=None if split.groups is None else split.groups[rows],
        paths=tuple(split.paths[row] for row in rows) if split.paths else (),
        objects=None if split.objects is None else split.objects[rows],
        gallery=None if split.gallery is None else split.gallery[rows],
    )


def subset(split: Split, rows: Int[np.ndarray, " k"]) -> Split:
    """`chosen` as a split of its own: classes without an image vanish.

    The other classes are numbered anew in the same order; groups keep their numbers.
    """
    part = chosen(split, rows)
    there, labels = np.unique(part.labels, return_inverse=True)
    names = tuple(split.class_names[label] for label in there)
    return dataclasses.replace(part, labels=labels.astype(np.int32), class_names=names)


def data_root(configured: str) -> pathlib.Path:
    """Where prepared data lies: as configured, else $ABE_JAX_DATA, else ~/.cache/abe_jax/data."""
    chosen = configured or os.environ.get("ABE_JAX_DATA") or "~/.cache/abe_jax/data"
    return pathlib.Path(chosen).expanduser()


def shard_sources(folder: pathlib.Path, splits: Sequence[str]) -> tuple[Any, list[Any]]:
    """The TFDS builder of a prepared folder and its splits' data sources, images left encoded.

    Raises `UserError` when the folder's records are damaged or not array_record.
    """
    with damage_named(folder):
        builder: Any = tfds.builder_from_directory(folder)
        stored = builder.info.file_format
        if stored is not tfds.core.FileFormat.ARRAY_RECORD:
            raise UserError(
                f"{folder} was prepared as {stored and stored.value}, which needs TensorFlow: "
                "prepare it with --file_format=array_record"
            )
        features = builder.info.features.items()
        images = [name for name, of in features if isinstance(of, tfds.features.Image)]
        skip = {name: tfds.decode.SkipDecoding() for name in images}
        opened: list[Any] = [builder.as_data_source(split=s, decoders=skip) for s in splits]
        for source in opened:
            source[len(source) - 1]  # files are opened at the first read
    return builder, opened


@contextlib.contextmanager
def damage_named(folder: pathlib.Path) -> Iterator[None]:
    """Turns any failure to read a prepared folder into one line that says what to delete.

    The readers raise whatever their C++ or their parsers raise, hence the broad clause.
    """
    try:
        yield
    except (UserError, IndexError):
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(
            f"the prepared data in {folder} is damaged ({reason}): delete that folder and run again"
        ) from error
