"""Data sets that TFDS has prepared, by `tfds:<name>[/config][:version]`, as class-disjoint splits.

TFDS prepares a set with TensorFlow; read back as array_record it needs none. Of the sets in
TRAINING the first classes are for training. Of any other, parts that share no class are taken as
they are; else all parts are merged and the classes divided as those of a folder.
"""

import pathlib

import numpy as np

from abe_jax.config import Data
from abe_jax.data.sources import folder
from abe_jax.data.sources.tfds_stored import Stored, stored
from abe_jax.data.split import EncodedImages, Split
from abe_jax.errors import UserError

_PARTS = {"train": "train", "validation": "val", "val": "val", "test": "test"}
# How many first classes are for training, where TFDS's own parts hold the same classes:
# Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
TRAINING = {"cars196": 98, "caltech_birds2011": 100}


def prepare(data: Data) -> pathlib.Path:
    """The folder of the set as TFDS prepared it, with its labels read once into a sidecar.

    Raises:
        UserError: it is not prepared, or not as array_record, or has no image or no label.
    """
    return stored(data)[0].folder


def load(data: Data, split: str) -> Split:
    """One part of the set; `val` is TFDS's own, or the last `data.validation_classes` of training.

    `data.label_column` chooses the feature that names the class, where it is none of the usual.

    Raises:
        UserError: a split without a class, or the errors of `prepare`.
    """
    found, sources = stored(data)
    classes = _classes(found, data)[split]
    rows = np.flatnonzero(np.isin(found.labels, classes))
    if not len(rows):
        raise UserError(_empty(found, split))
    present, labels = np.unique(found.labels[rows], return_inverse=True)
    return Split(
        name=split,
        records=EncodedImages(found.folder, sources, rows, found.image),
        labels=labels.astype(np.int32),
        groups=None,
        class_names=tuple(found.names[label] for label in present.tolist()),
    )


def _classes(found: Stored, data: Data) -> dict[str, list[int]]:
    """The classes of each split, in an order whose last training classes are for validation."""
    of_part = {
        part: set(found.labels[found.of_part == place].tolist()) - {-1}  # unlabelled images
        for place, part in enumerate(found.parts)
    }
    of_part = {part: labels for part, labels in of_part.items() if labels}
    if found.name in TRAINING and found.label == "label":
        order, first = sorted(found.names), TRAINING[found.name]
        parts = {
            "train": [label for label in order if label < first],
            "val": [],
            "test": [label for label in order if label >= first],
        }
    elif _apart(of_part):
        parts = {"train": [], "val": [], "test": []}
        parts |= {_PARTS[part]: sorted(labels) for part, labels in of_part.items()}
    else:
        numbers = {name: label for label, name in found.names.items()}
        divided = folder.divided(numbers, data.test_share, data.name)
        parts = {part: [numbers[n] for n in names] for part, names in divided.items()}
    return _with_validation(parts, data)


def _apart(of_part: dict[str, set[int]]) -> bool:
    """Whether TFDS's own parts are a split by class."""
    known = {"train", "test"} <= set(of_part) <= set(_PARTS)
    return known and sum(map(len, of_part.values())) == len(set().union(*of_part.values()))


def _with_validation(parts: dict[str, list[int]], data: Data) -> dict[str, list[int]]:
    train, number = parts["train"], data.validation_classes
    if parts["val"] and number:
        raise UserError(
            f"{data.name} has validation classes of its own: "
            "leave config.data.validation_classes at 0"
        )
    if not 0 <= number < max(len(train), 1):
        raise UserError(
            f"config.data.validation_classes is {number}: {data.name} has {len(train)} training "
            f"classes, of which 0 to {len(train) - 1} can be kept for validation"
        )
    if not number:
        return parts
    return parts | {"train": train[:-number], "val": train[-number:]}


def _empty(found: Stored, split: str) -> str:
    if split == "val":
        return (
            f"{found.name} has no validation part of its own: set "
            "config.data.validation_classes, say to 10"
        )
    return f"{found.name} in {found.folder} has no image of a class of its part {split!r}"
