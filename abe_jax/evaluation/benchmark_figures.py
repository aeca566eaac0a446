"""The figures by which a data set is known, where Recall@K is not what is published of it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from abe_jax.data.split import Split, chosen
from abe_jax.evaluation import grains, protocols
from abe_jax.evaluation.knn import Vectors


def measure(name: str, split: Split, read: Int[np.ndarray, " n"], vectors: Vectors) -> dict:
    """{"instance": ..} or {"copy": ..} of a data set in FIGURES, empty of any other.

    Args:
        name: as in config.data.name.
        split: its images; labels, or objects where it has them, say what is alike.
        read: which images of the split `vectors` are of.
        vectors: [n, d] or [n, m, d].
    """
    figures = FIGURES.get(name)
    return {} if figures is None else figures(chosen(split, read), vectors)


def _objects(split: Split, vectors: Vectors) -> dict[str, Any]:
    """`grains.instance`: Holidays' mAP and UKBench's score."""
    objects = split.labels if split.objects is None else split.objects
    found = grains.instance(vectors, objects)
    return {"instance": found} if found else {}


def _copies(split: Split, vectors: Vectors) -> dict[str, Any]:
    """`grains.copies`: each attacked image asks for its original, by attack."""
    asking, asked, _ = protocols.rows(len(split.labels), split.gallery)
    originals = {label: place for place, label in enumerate(split.labels[asked])}
    rows = np.array([row for row in asking if split.labels[row] in originals], np.int64)
    if not len(rows):  # no original of any of them can be read
        return {}
    kinds, names = split.groups, split.group_names
    found = grains.copies(
        vectors[rows],
        np.array([originals[label] for label in split.labels[rows]], np.int64),
        np.zeros(len(rows), np.int64) if kinds is None else kinds[rows],
        names if kinds is not None else ("copies",),
        vectors[asked],
    )
    return {"copy": found}


FIGURES: Mapping[str, Callable[[Split, Vectors], dict[str, Any]]] = {
    "holidays": _objects,
    "ukbench": _objects,
    "copydays": _copies,
}
