"""Exact neighbours of vectors and of their codes, in turns with faiss's flat indexes.

pytest benchmarks/test_retrieval.py
pytest benchmarks/test_retrieval.py --full    Stanford Online Products' test half, 512-d
pytest benchmarks/test_retrieval.py --full --queries 4000    a fifth of its queries
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from results import Table, number, times_of

from abe_jax import evaluation
from abe_jax.comparison import timing
from abe_jax.evaluation import coarse
from abe_jax.evaluation.knn import knn

CHECKED = 8  # queries whose neighbours are compared with those by definition


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Galleries and neighbours that are measured; each k on the largest gallery."""

    queries: int
    galleries: tuple[int, ...]
    dim: int
    ks: tuple[int, int]

    def cases(self, many: bool) -> list[tuple[int, int]]:
        """Pairs (gallery, k): every gallery with the smaller k, or the largest with the larger."""
        few, large = self.ks
        return [(self.galleries[-1], large)] if many else [(n, few) for n in self.galleries]


SIZES = {  # by --full
    False: Sizes(queries=1024, galleries=(1024, 4096, 16384), dim=128, ks=(10, 100)),
    True: Sizes(queries=20_000, galleries=(15_000, 60_000), dim=512, ks=(10, 1000)),
}


def random_rows(rows: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors in no particular place."""
    x = np.random.default_rng(seed).standard_normal((rows, dim), np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def check(found: tuple, queries: np.ndarray, gallery: np.ndarray, k: int) -> None:
    """The first queries' neighbours are as near as the nearest there are, from differences."""
    distances, indices = found
    assert distances.shape == indices.shape == (len(queries), k)
    for query, near, positions in zip(queries[:CHECKED], distances, indices, strict=False):
        difference = ((query.astype(np.float64) - gallery) ** 2).sum(-1)
        np.testing.assert_allclose(near, np.sort(difference)[:k], atol=1e-5)
        np.testing.assert_allclose(near, difference[positions], atol=1e-5)
        assert len(set(positions.tolist())) == k


@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
def test_nearest(
    many: bool, full: bool, rounds: int, asked: int | None, tables: list[Table]
) -> None:
    faiss = pytest.importorskip("faiss")
    sizes = SIZES[full]
    sizes = dataclasses.replace(sizes, queries=asked or sizes.queries)
    rounds = max(1, rounds // 4)  # one call is a hundred times longer than a loss's
    queries = random_rows(sizes.queries, sizes.dim, 0)
    gallery = random_rows(sizes.galleries[-1], sizes.dim, 1)
    calls, found, rows = {}, {}, []

    def kept(name: str, call: Callable[[], tuple]) -> None:
        found[name] = call()

    for n, k in sizes.cases(many):
        theirs = faiss.IndexFlatL2(sizes.dim)
        theirs.add(gallery[:n])
        calls[f"{n} {k}"] = partial(knn, queries, gallery[:n], k)
        calls[f"{n} {k} faiss"] = partial(theirs.search, queries, k)
    keeping = {name: partial(kept, name, call) for name, call in calls.items()}
    seconds = timing.interleaved(keeping, rounds)
    for n, k in sizes.cases(many):
        check(found[f"{n} {k}"], queries, gallery[:n], k)
        check(found[f"{n} {k} faiss"], queries, gallery[:n], k)
        rows.append(row(sizes, n, k, seconds))
    title = f"Exact neighbours: {sizes.queries:,} queries, {sizes.dim} dimensions, float32"
    title += f", k = {sizes.ks[many]}"
    tables.append(Table(title=title, note=note(rounds, faiss), head=HEAD, rows=rows))


HEAD = ("gallery", "k", "ms", "faiss ms", "time / faiss", "queries/s", "GFLOP/s")


def row(sizes: Sizes, n: int, k: int, seconds: dict[str, list[float]]) -> tuple[str, ...]:
    """One gallery's line of the table."""
    ours, theirs = seconds[f"{n} {k}"], seconds[f"{n} {k} faiss"]
    time = statistics.median(ours)
    return (
        f"{n:,}",
        str(k),
        number(1e3 * time),
        number(1e3 * statistics.median(theirs)),
        times_of(ours, theirs),
        number(sizes.queries / time),
        number(2 * sizes.queries * n * sizes.dim / time / 1e9),
    )


def note(rounds: int, faiss: Any) -> str:
    """How to read the table."""
    kind = np.dtype(coarse.fastest_kind()).name
    return (
        f"Medians over {rounds} interleaved rounds of `knn` from NumPy to NumPy, which makes its "
        "gallery ready each time, and of the search alone in faiss's IndexFlatL2 "
        f"{faiss.__version__}, on {faiss.omp_get_max_threads()} threads. `time / faiss`: the "
        "median of the rounds' ratios, and the least and the most. The distances of `knn` are "
        "float64's, and its order is theirs; faiss's are float32's. GFLOP/s: 2 x queries x gallery "
        "x dimensions, by the second; the selection and float64 count nothing there. Products of a "
        f"first pass on this machine: {kind}."
    )


CODES = {  # by --full: queries, gallery, the dimensions compared, k
    False: (1024, 16_384, (128, 512, 2048), 10),
    True: (20_000, 60_000, (512, 2048), 10),
}


def test_codes(full: bool, rounds: int, asked: int | None, tables: list[Table]) -> None:
    faiss = pytest.importorskip("faiss")
    number_of_queries, n, dims, k = CODES[full]
    number_of_queries = asked or number_of_queries
    rounds = max(1, rounds // 4)
    rows = []
    for dim in dims:
        queries, gallery = random_rows(number_of_queries, dim, 0), random_rows(n, dim, 1)
        codes = evaluation.pack(queries), evaluation.pack(gallery)
        theirs = faiss.IndexBinaryFlat(dim)
        theirs.add(codes[1])
        calls = {
            "vectors": partial(knn, queries, gallery, k),
            "codes": partial(evaluation.hamming_nearest, *codes, k),
            "codes, faiss": partial(theirs.search, codes[0], k),
        }
        check_codes(calls["codes"], queries, gallery)
        ours, others = calls["codes"]()[0], calls["codes, faiss"]()[0]
        np.testing.assert_array_equal(ours, others)  # of equal distances faiss takes other rows
        seconds = timing.interleaved(calls, rounds)
        in_use = {
            "vectors": gallery.nbytes,
            "codes": codes[1].nbytes,
            "codes, faiss": codes[1].nbytes,
        }
        rows += [code_row(dim, form, seconds, in_use, number_of_queries) for form in calls]
    title = f"Exact neighbours of codes: {number_of_queries:,} queries, gallery {n:,}, k = {k}"
    tables.append(Table(title=title, note=code_note(rounds), head=CODE_HEAD, rows=rows))


def check_codes(call: Callable[[], tuple], queries: np.ndarray, gallery: np.ndarray) -> None:
    """The first queries' neighbours are those of a stable sort of all distances."""
    distances, indices = call()
    for query, found, positions in zip(queries[:CHECKED], distances, indices, strict=False):
        difference = ((query > 0) != (gallery > 0)).sum(-1)
        nearest = np.argsort(difference, kind="stable")[: len(positions)]
        np.testing.assert_array_equal(positions, nearest)
        np.testing.assert_array_equal(found, difference[nearest])


CODE_HEAD = ("dimensions", "rows", "ms", "time / faiss's codes", "queries/s", "gallery MiB")


def code_row(
    dim: int,
    form: str,
    seconds: Mapping[str, Sequence[float]],
    in_use: dict[str, int],
    queries: int,
) -> tuple[str, ...]:
    """One line of the table: vectors or codes of some dimensions."""
    time = statistics.median(seconds[form])
    return (
        number(dim) if dim >= 1000 else str(dim),
        form,
        number(1e3 * time),
        times_of(seconds[form], seconds["codes, faiss"]),
        number(queries / time),
        number(in_use[form] / 2**20),
    )


def code_note(rounds: int) -> str:
    """How to read the table of codes."""
    return (
        f"Medians over {rounds} interleaved rounds, from NumPy to NumPy: `knn` of "
        "float32 vectors, `evaluation.hamming_nearest` of their packed codes, and faiss's "
        "IndexBinaryFlat of the same codes, the selection of the k nearest included. Packing is "
        "not. Ratios: the median of the rounds', and the least and the most."
    )
