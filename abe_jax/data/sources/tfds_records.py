"""What TFDS has prepared of a data set: its folder, its image and label features, its labels."""

import contextlib
import io
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from abe_jax import files
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources.prepared import damage_named, data_root, tfds_sources
from abe_jax.errors import ArgumentError, UserError, nearest

PREFIX = "tfds:"
_NAME = re.compile(r"(?P<set>\w+)(/(?P<config>[^/:]+))?(:(?P<version>\d+\.\d+\.\d+))?")
# Where it is not "label": of these sets TFDS's first class number is the right one, of others not.
_LABELS = {"stanford_online_products": "class_id"}


class TfdsRecords(NamedTuple):
    """What is prepared of a set: labels of all its parts, laid end to end; -1: unlabelled."""

    name: str
    folder: pathlib.Path
    parts: list[str]
    part_numbers: Int[np.ndarray, " n"]  # index into `parts`
    labels: Int[np.ndarray, " n"]
    image: str  # the feature
    label: str
    names: dict[int, str]  # of the labels that are there


def opened(name: str, options: SourceOptions) -> tuple[TfdsRecords, list[Any]]:
    """The set that `name` (tfds:<name>[/config][:version]) names, and its parts' data sources.

    Raises:
        UserError: it is not prepared, or not as array_record, or has no image or no class number.
    """
    import tensorflow_datasets as tfds  # seconds, and only these data sets need it

    written = name.removeprefix(PREFIX)
    match = _NAME.fullmatch(written)
    if not match:
        raise ArgumentError("name", f"{name!r} is not written tfds:<name>[/config][:version]")
    folder = _folder(data_root(options.root), written, match)
    parts = _lengths(folder)
    builder, sources = tfds_sources(folder, tuple(parts))
    image, label = _features(builder.info, match["set"], name, options.label_column)
    labels = _labels(folder, sources, label, sum(parts.values()))
    feature = builder.info.features[label]
    class_name = feature.int2str if isinstance(feature, tfds.features.ClassLabel) else str
    present = np.unique(labels[labels >= 0]).tolist()
    return TfdsRecords(
        name=match["set"],
        folder=folder,
        parts=list(parts),
        part_numbers=np.repeat(np.arange(len(parts)), list(parts.values())),
        labels=labels,
        image=image,
        label=label,
        names={value: class_name(value) for value in present},
    ), sources


def _folder(root: pathlib.Path, name: str, match: re.Match[str]) -> pathlib.Path:
    """The folder of the version that is asked for, or of the newest."""
    above = root / match["set"] / (match["config"] or "")
    versions = {info.parent.name: info.parent for info in above.glob("*/dataset_info.json")}
    numbered = {key: path for key, path in versions.items() if key.replace(".", "").isdigit()}
    if match["version"]:
        numbered = {key: path for key, path in numbered.items() if key == match["version"]}
    if numbered:
        return max(numbered.values(), key=lambda path: tuple(map(int, path.name.split("."))))
    configs = sorted({info.parent.parent.name for info in above.glob("*/*/dataset_info.json")})
    if configs and not match["config"]:
        raise UserError(
            f"{match['set']} in {root} is prepared with the configs {', '.join(configs)}: "
            f"name one, as in tfds:{match['set']}/{configs[0]}"
        )
    raise UserError(
        f"no prepared {name} in {root}: run `tfds build {name} --file_format=array_record "
        f"--data_dir={root}` where TensorFlow is"
    )


def _lengths(folder: pathlib.Path) -> dict[str, int]:
    """How many images each part has, `train` first, then by name; parts without any are left out.

    An order of our own, since labels are kept in it.
    """
    with damage_named(folder):
        info = json.loads((folder / "dataset_info.json").read_text())
        lengths = {s["name"]: sum(map(int, s.get("shardLengths", ()))) for s in info["splits"]}
    order = sorted(lengths, key=lambda part: (part != "train", part))
    return {part: lengths[part] for part in order if lengths[part]}


def _features(info: Any, name: str, full_name: str, asked: str) -> tuple[str, str]:
    """The names of the features that hold the image and the class."""
    import tensorflow_datasets as tfds

    features = dict(sorted(info.features.items()))  # in an order that is always the same
    images = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
    labels = [key for key, kind in features.items() if _is_label(kind)]
    usual = info.supervised_keys if isinstance(info.supervised_keys, tuple) else ("image", "label")
    if asked == SourceOptions().label_column:  # nothing was asked for
        asked = _LABELS.get(name, asked)
        only = labels if len(labels) == 1 else []
        asked = next((key for key in (asked, usual[-1], *only) if key in labels), asked)
    image = next((key for key in (usual[0], "image", *images) if key in images), None)
    if image is None:
        raise UserError(f"{full_name} has no image among its features {', '.join(features)}")
    if asked not in labels:
        choices = nearest(asked, labels) if labels else "it has no feature with a class number"
        raise ArgumentError("label_column", f"{full_name} has no class number {asked!r}; {choices}")
    return image, asked


def _is_label(feature: Any) -> bool:
    kind = getattr(feature, "np_dtype", None)
    return kind is not None and np.issubdtype(kind, np.integer) and feature.shape == ()


def _labels(
    folder: pathlib.Path, sources: Sequence[Any], label: str, expected: int
) -> Int[np.ndarray, " n"]:
    """The labels of all parts; read from the records once, then from a file beside them."""
    path = folder / f"abe_jax_{label.replace('/', '_')}s.npy"
    if path.exists():
        with damage_named(folder), path.open("rb") as file:
            labels = np.load(file)
        if len(labels) == expected:
            return labels
    rows = tqdm(
        ((source, i) for source in sources for i in range(len(source))),
        total=expected,
        desc=f"{folder.parent.name}: reading labels",
        unit="image",
        mininterval=1,
    )
    with damage_named(folder):
        labels = np.array([int(source[i][label]) for source, i in rows], np.int32)
    content = io.BytesIO()
    np.save(content, labels)
    with contextlib.suppress(OSError):  # a copy that cannot be written is read through each time
        files.write(path, content.getvalue())
    return labels
