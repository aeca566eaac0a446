"""Rankings of a whole split, each image against all others, beside faiss's flat index in one run.

pytest benchmarks/test_evaluation.py
pytest benchmarks/test_evaluation.py --full --rounds 10    Stanford Online Products' test half
pytest benchmarks/test_evaluation.py --full --rounds 10 -k thousands    classes of 1,000 and 2,000

The second takes a GPU or patience: 60,502 queries of 60,502 images are 3.7 TFLOP in float32, and as
many in float64 where classes are large.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from results import Table, number

from abe_jax import evaluation
from abe_jax.comparison import timing
from abe_jax.evaluation.knn import knn

# Without it ours stands alone, as on a machine with a GPU and nothing else.
faiss: Any = importlib.import_module("faiss") if importlib.util.find_spec("faiss") else None

CHECKED = 8  # queries that are compared with a loop in float64
KS = (1, 10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A split, and what is asked of it: k neighbours, or with k = 0 the metrics."""

    rows: int
    classes: int
    dim: int
    k: int = 0

    @property
    def deep(self) -> int:
        """The neighbours of a query that must be known: k, or R of the largest class."""
        return self.k or max(-(-self.rows // self.classes) - 1, *KS)


CASES = {  # by --full
    False: (
        Case(rows=4096, classes=800, dim=128, k=10),
        Case(rows=4096, classes=800, dim=128),
    ),
    True: (
        Case(rows=60_502, classes=11_316, dim=512, k=10),
        Case(rows=60_502, classes=11_316, dim=512),
        Case(rows=60_502, classes=60, dim=512),
        Case(rows=60_502, classes=10, dim=512),
    ),
}

OF_THOUSANDS = {  # by --full
    False: (Case(rows=4096, classes=8, dim=128),),
    True: (Case(rows=10_000, classes=10, dim=512), Case(rows=20_000, classes=10, dim=512)),
}


def split(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of classes that overlap, in mixed order, and the classes."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(case.rows) % case.classes)
    x = rng.standard_normal((case.classes, case.dim), np.float32)[labels]
    x += 2 * rng.standard_normal((case.rows, case.dim), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def test_evaluation(full: bool, rounds: int, tables: list[Table]) -> None:
    tables.append(table("Rankings of whole splits", CASES[full], rounds))


def test_classes_of_thousands(full: bool, rounds: int, tables: list[Table]) -> None:
    tables.append(table("Rankings of large classes", OF_THOUSANDS[full], rounds))


def table(title: str, cases: tuple[Case, ...], rounds: int) -> Table:
    """What the cases take."""
    rounds = max(1, rounds // 10)  # a call takes up to minutes
    rows = [measured(case, rounds) for case in cases]
    title = f"{title}, each image against all others, {cases[0].dim} dimensions"
    return Table(title=title, note=note(rounds), head=HEAD, rows=rows)


def measured(case: Case, rounds: int) -> tuple[str, ...]:
    """One line of the table."""
    x, labels = split(case)
    if case.k:
        calls: dict[str, Callable[[], Any]] = {
            "ours": partial(knn, x, x, case.k, exclude_self=True)
        }
        check_neighbours(calls["ours"](), x)
    else:
        calls = {"ours": partial(evaluation.scores, x, labels, KS)}
        check_metrics(calls["ours"](), x, labels)
    if faiss is not None:
        calls["faiss"] = of_faiss(x, case.deep)
    seconds = timing.medians(calls, rounds)
    peer = seconds.get("faiss")
    return (
        f"{case.k} neighbours" if case.k else "all metrics",
        f"{case.rows:,}",
        f"{case.classes:,}",
        f"{case.deep:,}",
        number(seconds["ours"]),
        "-" if peer is None else number(peer),
        "-" if peer is None else f"{seconds['ours'] / peer:.2f}",
        number(case.rows / seconds["ours"]),
    )


def of_faiss(x: np.ndarray, deep: int) -> Callable[[], Any]:
    """faiss's search as deep, with one more for the image itself; nothing is made of its answer."""
    made = faiss.IndexFlatL2(x.shape[1])
    made.add(x)
    return lambda: made.search(x, deep + 1)


def distances(x: np.ndarray, row: int) -> np.ndarray:
    """Of one image to all, by differences in float64; infinite to itself."""
    difference = ((x.astype(np.float64) - x[row]) ** 2).sum(axis=1)
    difference[row] = np.inf
    return difference


def check_neighbours(found: tuple[np.ndarray, np.ndarray], x: np.ndarray) -> None:
    """The first queries' neighbours are those by definition."""
    for row in range(CHECKED):
        difference, k = distances(x, row), found[1].shape[1]
        order = np.argsort(difference, kind="stable")[:k]
        np.testing.assert_array_equal(found[1][row], order)
        np.testing.assert_allclose(found[0][row], difference[order], rtol=1e-12)


def check_metrics(found: Any, x: np.ndarray, labels: np.ndarray) -> None:
    """The values of a few queries are those by definition."""
    for at, row in enumerate(found.rows[:CHECKED]):
        right = labels == labels[row]
        hits = right[np.argsort(distances(x, row), kind="stable")[: right.sum() - 1]]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        np.testing.assert_allclose(found.r_precision[at], hits.mean(), rtol=1e-12)
        average = (precision * hits).sum() / len(hits)
        np.testing.assert_allclose(found.average_precision[at], average, rtol=1e-12)


HEAD = ("what", "images", "classes", "depth", "s", "faiss s", "time / faiss", "queries/s")


def note(rounds: int) -> str:
    """How to read the table."""
    peer = "faiss is not installed" if faiss is None else f"faiss {faiss.__version__}"
    return (
        f"Medians over {rounds} interleaved rounds, from NumPy to NumPy, on "
        f"{jax.local_device_count()} of {jax.local_devices()[0].device_kind}; {peer}, NumPy "
        f"{np.__version__}. Depth: neighbours of a query that must be known, of metrics R of the "
        "largest class, or the largest K. faiss's time is that of IndexFlatL2's search to the same "
        "depth and no more: it ranks in float32 and makes no metrics."
    )
