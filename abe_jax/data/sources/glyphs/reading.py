"""Prepares `glyphs` once and reads its splits; only preparing needs the fonts."""

import contextlib
import io
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources.prepared import (
    EncodedImages,
    damage_named,
    data_root,
    locked,
    tfds_sources,
)
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError

VERSION = "1.0.0"  # of the prepared form
LABELS = "labels.npz"  # beside the records, in their order


def prepare(options: SourceOptions, choice: str) -> pathlib.Path:
    """The folder of the prepared set, built first where it is not there.

    Args:
        options: `root` is where prepared data lies.
        choice: full | tiny, a name of `builder.GlyphsConfig`.

    Raises:
        UserError: fonts are missing, or the folder cannot be written.
    """
    folder = _folder(options, choice)
    if not folder.exists():
        with locked(folder.parent):
            if not folder.exists():
                for leftover in folder.parent.glob("incomplete.*"):  # of a killed process
                    shutil.rmtree(leftover)
                _build(data_root(options.root), choice)
    return folder


def _folder(options: SourceOptions, choice: str) -> pathlib.Path:
    return data_root(options.root) / "glyphs" / choice / VERSION


def _build(root: pathlib.Path, choice: str) -> None:
    import tensorflow_datasets as tfds  # seconds, and not needed by other data sets

    try:
        from abe_jax.data.sources.glyphs.builder import Glyphs
    except ModuleNotFoundError as error:
        raise UserError(
            f"preparing glyphs needs {error.name}: pip install 'abe_jax[quickstart]'"
        ) from error
    builder = Glyphs(config=choice, data_dir=root, file_format="array_record")
    with _quiet():
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # The builder has its own progress bars; TFDS's five more and its two lines tell nothing new.
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()


def read(options: SourceOptions, choice: str, split: str) -> Split:
    """One split, prepared if need be; an object is a character in the styles of one family.

    Raises:
        ArgumentError: of `validation_classes`: the set has such classes of its own.
        UserError: the errors of `prepare`, or what is prepared is damaged.
    """
    if options.validation_classes:
        raise ArgumentError(
            "validation_classes",
            f"{options.validation_classes}, but glyphs has validation classes of its own: "
            "leave it at 0",
        )
    folder = prepare(options, choice)
    with damage_named(folder), (folder / LABELS).open("rb") as file, np.load(file) as stored:
        labels, groups = stored[f"{split}/labels"], stored[f"{split}/groups"]
        classes, families = stored[f"{split}/classes"], stored["families"]
    _, (source,) = tfds_sources(folder, (split,))
    with damage_named(folder):
        if len(source) != len(labels):
            raise ValueError(f"{len(source)} images but {len(labels)} labels")
    return Split(
        name=split,
        records=EncodedImages(folder, [source], np.arange(len(labels))),
        labels=labels,
        groups=groups,
        class_names=tuple(map(str, classes)),
        group_names=tuple(map(str, families)),
        object_ids=_object_ids(labels, groups),
    )


def _object_ids(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """A number for each image, alike for images of one class and one group."""
    return np.unique(np.stack([labels, groups]), axis=1, return_inverse=True)[1].astype(np.int32)
