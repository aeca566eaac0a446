"""What TFDS has prepared of a data set: its folder, its image and label features, its labels."""

import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int
from tqdm import tqdm

from abe_jax.config import Data
from abe_jax.data.split import damage_named, data_root, shard_sources
from abe_jax.errors import UserError, nearest

PREFIX = "tfds:"
_NAME = re.compile(r"(?P<set>\w+)(/(?P<config>[^/:]+))?(:(?P<version>\d+\.\d+\.\d+))?")
# Where it is not "label": of these sets TFDS's first class number is the right one, of others not.
_LABELS = {"stanford_online_products": "class_id"}


class Stored(NamedTuple):
    """What is prepared of a set: labels of all its parts, laid end to end; -1: unlabelled."""

    name: str
    folder: pathlib.Path
    parts: list[str]
    of_part: Int[np.ndarray, " n"]  # index into `parts`
    labels: Int[np.ndarray, " n"]
    image: str  # the feature
    label: str
    names: dict[int, str]  # of the labels that are there


def stored(data: Data) -> tuple[Stored, list[Any]]:
    """The set that `data.name` names, with the data sources of its parts.

    Raises:
        UserError: it is not prepared, or not as array_record, or has no image or no class number.
    """
    name = data.name.removeprefix(PREFIX)
    found = _NAME.fullmatch(name)
    if not found:
        raise UserError(
            f"config.data.name: {data.name!r} is not written tfds:<name>[/config][:version]"
        )
    where = _folder(data_root(data.root), name, found)
    parts = _lengths(where)
    builder, sources = shard_sources(where, tuple(parts))
    image, label = _features(builder.info, found["set"], data)
    labels = _labels(where, sources, label, sum(parts.values()))
    names = builder.info.features[label]
    shown = names.int2str if isinstance(names, tfds.features.ClassLabel) else str
    there = np.unique(labels[labels >= 0]).tolist()
    return Stored(
        name=found["set"],
        folder=where,
        parts=list(parts),
        of_part=np.repeat(np.arange(len(parts)), list(parts.values())),
        labels=labels,
        image=image,
        label=label,
        names={value: shown(value) for value in there},
    ), sources


def _folder(root: pathlib.Path, name: str, found: re.Match[str]) -> pathlib.Path:
    """The folder of the version that is asked for, or of the newest."""
    above = root / found["set"] / (found["config"] or "")
    versions = {info.parent.name: info.parent for info in above.glob("*/dataset_info.json")}
    numbered = {key: path for key, path in versions.items() if key.replace(".", "").isdigit()}
    if found["version"]:
        numbered = {key: path for key, path in numbered.items() if key == found["version"]}
    if numbered:
        return max(numbered.values(), key=lambda path: tuple(map(int, path.name.split("."))))
    configs = sorted({info.parent.parent.name for info in above.glob("*/*/dataset_info.json")})
    if configs and not found["config"]:
        raise UserError(
            f"{found['set']} in {root} is prepared with the configs {', '.join(configs)}: "
            f"name one, as in tfds:{found['set']}/{configs[0]}"
        )
    raise UserError(
        f"no prepared {name} in {root}: run `tfds build {name} --file_format=array_record "
        f"--data_dir={root}` where TensorFlow is"
    )


def _lengths(where: pathlib.Path) -> dict[str, int]:
    """How many images each part has, `train` first, then by name; parts without any are left out.

    An order of our own, since labels are kept in it.
    """
    with damage_named(where):
        info = json.loads((where / "dataset_info.json").read_text())
        found = {s["name"]: sum(map(int, s.get("shardLengths", ()))) for s in info["splits"]}
    order = sorted(found, key=lambda part: (part != "train", part))
    return {part: found[part] for part in order if found[part]}


def _features(info: Any, name: str, data: Data) -> tuple[str, str]:
    """The names of the features that hold the image and the class."""
    features = dict(sorted(info.features.items()))  # in an order that is always the same
    images = [key for key, of in features.items() if isinstance(of, tfds.features.Image)]
    labels = [key for key, of in features.items() if _is_label(of)]
    usual = info.supervised_keys if isinstance(info.supervised_keys, tuple) else ("image", "label")
    asked = data.label_column
    if asked == Data(name="").label_column:  # nothing was asked for
        asked = _LABELS.get(name, asked)
        only = labels if len(labels) == 1 else []
        asked = next((key for key in (asked, usual[-1], *only) if key in labels), asked)
    image = next((key for key in (usual[0], "image", *images) if key in images), None)
    if image is None:
        raise UserError(f"{data.name} has no image among its features {', '.join(features)}")
    if asked not in labels:
        choices = nearest(asked, labels) if labels else "it has no feature with a class number"
        raise UserError(
            f"config.data.label_column: {data.name} has no class number {asked!r}; {choices}"
        )
    return image, asked


def _is_label(feature: Any) -> bool:
    kind = getattr(feature, "np_dtype", None)
    return kind is not None and np.issubdtype(kind, np.integer) and feature.shape == ()


def _labels(
    where: pathlib.Path, sources: Sequence[Any], label: str, expected: int
) -> Int[np.ndarray, " n"]:
    """The labels of all parts; read from the records once, then from a sidecar."""
    path = where / f"abe_jax_{label.replace('/', '_')}s.npy"
    if path.exists():
        with damage_named(where), path.open("rb") as file:
            labels = np.load(file)
        if len(labels) == expected:
            return labels
    rows = tqdm(
        ((source, i) for source in sources for i in range(len(source))),
        total=expected,
        desc=f"{where.parent.name}: reading labels",
        unit="image",
        mininterval=1,
    )
    with damage_named(where):
        labels = np.array([int(source[i][label]) for source, i in rows], np.int32)
    _store(path, labels)
    return labels


def _store(path: pathlib.Path, labels: np.ndarray) -> None:
    partial = path.with_name(f"{path.stem}.{os.getpid()}.npy")
    try:
        np.save(partial, labels)
        partial.replace(path)  # atomic: two processes may do this at once
    except OSError:
        pass  # a read-only copy is scanned each time instead
