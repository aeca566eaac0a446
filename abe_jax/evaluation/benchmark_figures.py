"""The figures by which a data set is known, where Recall@K is not what is published of it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from abe_jax.data.split import Split, chosen
from abe_jax.evaluation import grains, protocols
from abe_jax.evaluation.knn import Vectors


def measure(name: str, split: Split, image_ids: Int[np.ndarray, " n"], vectors: Vectors) -> dict:
    """{"instance": ..} or {"copy": ..} of a data set in FIGURES, empty of any other.

    Args:
        name: of the data set.
        split: its images; labels, or object ids where it has them, say what is alike.
        image_ids: which images of the split `vectors` are of.
        vectors: [n, d] or [n, m, d].
    """
    figures = FIGURES.get(name)
    return {} if figures is None else figures(chosen(split, image_ids), vectors)


def _objects(split: Split, vectors: Vectors) -> dict[str, Any]:
    """`grains.instance`: Holidays' mAP and UKBench's score."""
    object_ids = split.labels if split.object_ids is None else split.object_ids
    figures = grains.instance(vectors, object_ids)
    return {"instance": figures} if figures else {}


def _copies(split: Split, vectors: Vectors) -> dict[str, Any]:
    """`grains.copies`: each attacked image is a query for its original, by attack."""
    queries, searched, _ = protocols.rows(len(split.labels), split.gallery)
    row_of_label = {label: index for index, label in enumerate(split.labels[searched])}
    rows = np.array([row for row in queries if split.labels[row] in row_of_label], np.int64)
    if not len(rows):  # no original of any of them can be read
        return {}
    kinds, names = split.groups, split.group_names
    figures = grains.copies(
        vectors[rows],
        np.array([row_of_label[label] for label in split.labels[rows]], np.int64),
        np.zeros(len(rows), np.int64) if kinds is None else kinds[rows],
        names if kinds is not None else ("copies",),
        vectors[searched],
    )
    return {"copy": figures}


FIGURES: Mapping[str, Callable[[Split, Vectors], dict[str, Any]]] = {
    "holidays": _objects,
    "ukbench": _objects,
    "copydays": _copies,
}
