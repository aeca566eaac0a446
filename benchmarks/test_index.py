"""Exact search in an index on disk beside faiss's flat indexes of the same vectors in memory.

pytest benchmarks/test_index.py
pytest benchmarks/test_index.py --full --rounds 20    1,000,000 vectors of 512 numbers, 4 GB of disk
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results import Table, number

from abe_jax import evaluation, index
from abe_jax.comparison import timing
from abe_jax.index import ImageRow, NearestRows, Snapshot, VectorSpec

CHECKED = 4  # queries whose neighbours are compared with those by definition
PIECE = 20_000  # rows made, added and compared at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is searched, and how deep."""

    rows: int
    dim: int = 512
    queries: int = 100
    k: int = 10


SIZES = {False: Sizes(rows=20_000), True: Sizes(rows=1_000_000)}  # by --full


def unit(rows: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors of one learner in no particular place."""
    x = rng.standard_normal((rows, 1, dim), np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def built(folder: Path, sizes: Sizes, storage: str) -> Snapshot:
    """An index of the same random vectors in every storage."""
    index.create(folder, VectorSpec("random", 1, sizes.dim, storage))
    rng = np.random.default_rng(0)
    with index.transaction(folder, "random") as new:
        for start in range(0, sizes.rows, PIECE):
            rows = [ImageRow(f"images/{start + i:07d}.jpg") for i in range(PIECE)]
            new.append(unit(PIECE, sizes.dim, rng), rows)
    return index.read(folder)


def test_index(tmp_path: Path, full: bool, rounds: int, tables: list[Table]) -> None:
    faiss = pytest.importorskip("faiss")
    sizes, rounds = SIZES[full], max(1, rounds // 4)
    rows = [
        measured(faiss, tmp_path / storage, sizes, storage, rounds) for storage in index.STORAGES
    ]
    title = f"Index on disk: {sizes.queries} queries, {sizes.rows:,} rows of {sizes.dim} numbers"
    versions = f"faiss {faiss.__version__}, NumPy {np.__version__}"
    table = Table(
        title=f"{title}, k = {sizes.k}", note=note(rounds, versions), head=HEAD, rows=rows
    )
    tables.append(table)


def measured(faiss: Any, folder: Path, sizes: Sizes, storage: str, rounds: int) -> tuple[str, ...]:
    """One line of the table; the gigabytes are gone afterwards."""
    try:
        snapshot = built(folder, sizes, storage)
        queries = unit(sizes.queries, sizes.dim, np.random.default_rng(1))
        used = memory(folder, queries, sizes.k)
        calls = {
            "index": partial(index.nearest_rows, snapshot, queries, sizes.k),
            "faiss": of_faiss(faiss, snapshot, queries, sizes.k),
        }
        check(calls["index"](), calls["faiss"](), snapshot, queries)
        seconds = timing.medians(calls, rounds)
        return row(storage, sizes, seconds, used, snapshot)
    finally:
        shutil.rmtree(folder)


def memory(folder: Path, queries: np.ndarray, k: int) -> dict[str, int]:
    """The memory of a process that searched and did nothing else, in bytes."""
    np.save(folder / "queries.npy", queries)
    script = Path(__file__).with_name("index_memory.py")
    command = [sys.executable, script, folder, folder / "queries.npy", str(k)]
    env = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def of_faiss(
    faiss: Any, snapshot: Snapshot, queries: np.ndarray, k: int
) -> Callable[[], NearestRows]:
    """The same search by faiss, over the same vectors in memory."""
    binary = snapshot.spec.storage == "binary"
    flat = queries.reshape(len(queries), -1)
    asked = evaluation.pack(flat) if binary else flat
    made = faiss.IndexBinaryFlat(8 * asked.shape[1]) if binary else faiss.IndexFlatL2(flat.shape[1])
    for part in snapshot.segments:
        for start in range(0, len(part.ids), PIECE):
            made.add(part.vectors[start : start + PIECE].astype(asked.dtype))
    return lambda: NearestRows(*made.search(asked, k))


def check(ours: NearestRows, faiss: NearestRows, snapshot: Snapshot, queries: np.ndarray) -> None:
    """Distances are faiss's, and the first queries' neighbours those by definition, in float64."""
    np.testing.assert_allclose(ours.distances, faiss.distances, atol=1e-4)
    k, ids = ours.ids.shape[1], snapshot.ids()
    for query, near, own in zip(queries[:CHECKED], ours.distances, ours.ids, strict=False):
        difference = np.concatenate(
            [by_definition(snapshot, query, ids[at : at + PIECE]) for at in ids[::PIECE]]
        )
        order = np.argsort(difference, kind="stable")[:k]
        np.testing.assert_array_equal(own, ids[order])
        np.testing.assert_allclose(near, difference[order], rtol=1e-12)


def by_definition(snapshot: Snapshot, query: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The distances of one query to some rows, from every difference."""
    rows = snapshot.vectors(ids).reshape(len(ids), -1)
    if snapshot.spec.storage == "binary":
        return ((rows > 0) != (query.reshape(1, -1) > 0)).sum(1).astype(np.float64)
    return ((rows.astype(np.float64) - query.reshape(1, -1)) ** 2).sum(1)


HEAD = (
    "storage",
    "ms",
    "faiss ms",
    "time / faiss",
    "queries/s",
    "vectors MiB",
    "own memory MiB",
    "of it before",
    "RSS MiB",
)


def row(
    storage: str, sizes: Sizes, seconds: dict[str, float], used: dict[str, int], snapshot: Snapshot
) -> tuple[str, ...]:
    """One storage's line of the table."""
    files = sum(segment.vectors.bytes for segment in snapshot.manifest.segments)
    sizes_in_bytes = (files, used["own"], used["before"], used["all"])
    return (
        storage,
        number(1e3 * seconds["index"]),
        number(1e3 * seconds["faiss"]),
        f"{seconds['index'] / seconds['faiss']:.2f}",
        number(sizes.queries / seconds["index"]),
        *(number(size / 2**20) for size in sizes_in_bytes),
    )


def note(rounds: int, versions: str) -> str:
    """How to read the table."""
    return (
        f"Medians over {rounds} interleaved rounds of `index.nearest_rows` (from the memory map, "
        "its pages in the system's cache) and of faiss's IndexFlatL2 or IndexBinaryFlat, which "
        "hold the same vectors in memory as float32 or codes. Memory is the peak of a process that "
        "does one such search: its own (before it: Python and JAX), and RSS, which also counts the "
        f"mapped files' pages, which the system takes back when it needs them. {versions}."
    )
