"""Indexes that several tests build, and what they are compared with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from abe_jax import index
from abe_jax.index import ImageRow, Snapshot, VectorSpec

MODEL = "the model's fingerprint"


def drawn(n: int, m: int = 2, d: int = 9, seed: int = 0) -> np.ndarray:
    """Unit vectors of m learners."""
    x = np.random.default_rng(seed).standard_normal((n, m, d), np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def named(names: Sequence[object]) -> list[ImageRow]:
    """Rows that tell which they are."""
    return [
        ImageRow(f"{name}.png", label=str(name), metadata={"name": str(name)}) for name in names
    ]


def built(folder: Path, vectors: np.ndarray, storage: str = "float32", pieces: int = 1) -> Path:
    """An index with row i of the vectors at the id i, added in so many pieces."""
    index.create(folder, VectorSpec(MODEL, vectors.shape[1], vectors.shape[2], storage))
    for at in np.array_split(np.arange(len(vectors)), pieces):
        index.add(folder, vectors[at], named(at.tolist()), MODEL)
    return folder


def definition(snapshot: Snapshot, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and ids [q, k] from every difference in float64, and a stable sort."""
    ids = snapshot.ids()
    g = snapshot.vectors(ids).reshape(len(ids), -1).astype(np.float64)
    q = queries.reshape(len(queries), -1).astype(np.float64)
    if snapshot.spec.storage == "binary":
        distances = ((q > 0)[:, None] != (g > 0)[None]).sum(-1).astype(np.float64)
    else:
        distances = np.stack([((g - one[None]) ** 2).sum(-1) for one in q])
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), ids[order]
