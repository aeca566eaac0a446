"""Prepared data on disk: where it lies, how its records are read, and one writer at a time."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from abe_jax import files
from abe_jax.data.sources.staging import staged
from abe_jax.errors import ArgumentError, UserError


def data_root(root: str) -> pathlib.Path:
    """Where prepared data lies: `root`, else $ABE_JAX_DATA, else ~/.cache/abe_jax/data."""
    chosen = root or os.environ.get("ABE_JAX_DATA") or "~/.cache/abe_jax/data"
    return files.expanded(chosen)


class EncodedImages:
    """The encoded images of a split: `records[i]` is the bytes of one file (PNG or JPEG).

    A view of one or several data sources, laid end to end, in the order of `rows`. Reading is
    thread-safe. A record that cannot be read raises `UserError` naming the data's folder.

    Args:
        folder: of the prepared data, for messages.
        sources: sequences of records.
        rows: which records, counted through all sources.
        key: the feature of a record that is the image; empty: the record itself is.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        sources: Sequence[Any],
        rows: Int[np.ndarray, " n"],
        key: str = "image",
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
            record = self._sources[source][row - start]
            return record[self._key] if self._key else record


def tfds_sources(folder: pathlib.Path, splits: Sequence[str]) -> tuple[Any, list[Any]]:
    """The TFDS builder of a prepared folder and its splits' data sources, images left encoded.

    Raises `UserError` when the folder's records are damaged or not array_record.
    """
    import tensorflow_datasets as tfds  # seconds, and only some data sets need it

    with damage_named(folder):
        builder: Any = tfds.builder_from_directory(staged(folder))
        stored = builder.info.file_format
        if stored is not tfds.core.FileFormat.ARRAY_RECORD:
            raise UserError(
                f"{folder} was prepared as {stored and stored.value}, which needs TensorFlow: "
                "prepare it with --file_format=array_record"
            )
        features = builder.info.features.items()
        images = [name for name, kind in features if isinstance(kind, tfds.features.Image)]
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


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Makes a folder that no other process prepares data in meanwhile.

    Raises:
        ArgumentError: of `root`: the folder cannot be written.
    """
    with contextlib.ExitStack() as until_end:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            until_end.enter_context(files.lock(folder / ".lock"))
        except OSError as error:
            raise ArgumentError(
                "root",
                f"cannot write prepared data to {folder} ({error.strerror}): name a folder that "
                "can be written, here or in $ABE_JAX_DATA",
            ) from error
        yield
