"""Cars196 as metric learning uses it: the first 98 classes to train on, the last 98 to test.

TFDS's own train and test parts (8,144 and 8,041 images, every class in both) are merged first.
TFDS prepares the set with TensorFlow; reading it back as array_record needs none.
"""

import json
import os
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from abe_jax.config import Data
from abe_jax.data import records
from abe_jax.errors import UserError

CLASSES = 196
TRAINING = 98  # classes 1..98 of the paper's count, 0..97 of TFDS's
_SIDECAR = "abe_jax_labels.npy"
_HOW = "run `tfds build cars196 --file_format=array_record --data_dir={root}` where TensorFlow is"


def prepare(data: Data) -> pathlib.Path:
    """The folder of the set as TFDS prepared it, with its labels read once into a sidecar."""
    folder = _folder(records.root(data.root))
    _labels(folder)
    return folder


def load(data: Data, split: str) -> records.Split:
    """One part of the set; `val` is the last `data.validation_classes` of the training classes."""
    folder = _folder(records.root(data.root))
    labels = _labels(folder)
    chosen = _classes(split, data.validation_classes)
    builder, sources = records.sources(folder, ("train", "test"))
    rows = np.flatnonzero(np.isin(labels, chosen))
    present, contiguous = np.unique(labels[rows], return_inverse=True)
    if not len(rows):
        raise UserError(f"cars196 in {folder} has no image of a class of its part {split!r}")
    names = builder.info.features["label"].names
    return records.Split(
        name=split,
        records=records.EncodedImages(folder, sources, rows),
        labels=contiguous.astype(np.int32),
        groups=None,
        class_names=tuple(names[i] for i in present),
    )


def _classes(split: str, validation: int) -> np.ndarray:
    if not 0 <= validation < TRAINING:
        raise UserError(
            f"config.data.validation_classes is {validation}: cars196 has {TRAINING} training "
            f"classes, of which 0 to {TRAINING - 1} can be kept for validation"
        )
    if split == "val" and not validation:
        raise UserError(
            "cars196 has no validation part of its own: set config.data.validation_classes, "
            "say to 10"
        )
    parts = {
        "train": np.arange(TRAINING - validation),
        "val": np.arange(TRAINING - validation, TRAINING),
        "test": np.arange(TRAINING, CLASSES),
    }
    return parts[split]


def _folder(root: pathlib.Path) -> pathlib.Path:
    versions = (root / "cars196").glob("*/dataset_info.json")
    numbered = [v.parent for v in versions if v.parent.name.replace(".", "").isdigit()]
    if not numbered:
        raise UserError(f"no prepared cars196 in {root}: {_HOW.format(root=root)}")
    return max(numbered, key=lambda folder: tuple(map(int, folder.name.split("."))))


def _labels(folder: pathlib.Path) -> Int[np.ndarray, "n"]:
    """TFDS's labels of train, then test; read from the records once, then from a sidecar."""
    path = folder / _SIDECAR
    expected = _images(folder)
    if path.exists():
        with records.damage_named(folder), path.open("rb") as file:
            labels = np.load(file)
        if len(labels) == expected:
            return labels
    _, sources = records.sources(folder, ("train", "test"))
    labels = np.concatenate([_scan(folder, source) for source in sources])
    _store(path, labels)
    return labels


def _images(folder: pathlib.Path) -> int:
    with records.damage_named(folder):
        info = json.loads((folder / "dataset_info.json").read_text())
        return sum(int(n) for split in info["splits"] for n in split["shardLengths"])


def _scan(folder: pathlib.Path, source: Any) -> np.ndarray:
    rows = tqdm(range(len(source)), desc="cars196: reading labels", unit="image", mininterval=1)
    with records.damage_named(folder):
        return np.array([int(source[i]["label"]) for i in rows], dtype=np.int32)


def _store(path: pathlib.Path, labels: np.ndarray) -> None:
    partial = path.with_name(f"{path.stem}.{os.getpid()}.npy")
    try:
        np.save(partial, labels)
        partial.replace(path)  # atomic: two processes may do this at once
    except OSError:
        pass  # a read-only copy is scanned each time instead
