"""Data sets that TFDS has prepared, by `tfds:<name>[/config][:version]`, as class-disjoint splits.

TFDS prepares a set with TensorFlow; read back as array_record it needs none. Of the sets in
TRAINING the first classes are for training. Of any other, parts that share no class are taken as
they are; else all parts are merged and the classes divided as those of a folder.
"""

import pathlib

import numpy as np

from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import class_splits
from abe_jax.data.sources.prepared import EncodedImages
from abe_jax.data.sources.tfds_records import TfdsRecords, opened
from abe_jax.data.split import Split
from abe_jax.errors import UserError

_PARTS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
# How many first classes are for training, where TFDS's own parts hold the same classes:
# Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
TRAINING = {"cars196": 98, "caltech_birds2011": 100}


def prepare(name: str, options: SourceOptions) -> pathlib.Path:
    """The folder of the set as TFDS prepared it; its labels are read once and kept beside it.

    Raises:
        UserError: it is not prepared, or not as array_record, or has no image or no label.
    """
    return opened(name, options)[0].folder


def read(name: str, options: SourceOptions, split: str) -> Split:
    """One split; `val` is TFDS's own, or the last `validation_classes` of training.

    `label_column` chooses the feature that names the class, where it is none of the usual.

    Raises:
        UserError: a split without a class, or the errors of `prepare`.
    """
    records, sources = opened(name, options)
    parts = _classes(records, name, options.test_share)
    classes = class_splits.with_validation(parts, options.validation_classes, name)[split]
    rows = np.flatnonzero(np.isin(records.labels, classes))
    if not len(rows):
        raise _empty(records, split)
    present, labels = np.unique(records.labels[rows], return_inverse=True)
    return Split(
        name=split,
        records=EncodedImages(records.folder, sources, rows, records.image),
        labels=labels.astype(np.int32),
        class_names=tuple(records.names[label] for label in present.tolist()),
    )


def _classes(records: TfdsRecords, name: str, test_share: float) -> dict[str, list[int]]:
    """The classes of each split, in an order whose last training classes are for validation."""
    own = {
        part: set(records.labels[records.part_numbers == number].tolist()) - {-1}  # unlabelled
        for number, part in enumerate(records.parts)
    }
    own = {part: labels for part, labels in own.items() if labels}
    if records.name in TRAINING and records.label == "label":
        order, first = sorted(records.names), TRAINING[records.name]
        return {
            "train": [label for label in order if label < first],
            "val": [],
            "test": [label for label in order if label >= first],
        }
    if _are_disjoint(own):
        parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        return parts | {_PARTS[part]: sorted(labels) for part, labels in own.items()}
    numbers = {name: label for label, name in records.names.items()}
    divided = class_splits.divided(numbers, test_share, name)
    return {part: [numbers[n] for n in names] for part, names in divided.items()}


def _are_disjoint(parts: dict[str, set[int]]) -> bool:
    """Whether TFDS's own parts are a split by class."""
    known = {"train", "test"} <= set(parts) <= set(_PARTS)
    return known and sum(map(len, parts.values())) == len(set().union(*parts.values()))


def _empty(records: TfdsRecords, split: str) -> UserError:
    if split == "val":
        return class_splits.no_validation(records.name)
    return UserError(f"{records.name} in {records.folder} has no image of its split {split!r}")
