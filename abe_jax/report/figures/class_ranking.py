"""The classes that a run retrieves best and worst, with a query of each and its neighbours."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from abe_jax.evaluation import metrics, protocols
from abe_jax.evaluation.knn import knn
from abe_jax.evaluation.options import Ranking
from abe_jax.report.figures.embedded_run import EmbeddedRun

EACH = 4  # classes at either end
SHOWN = 7  # neighbours


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassResult:
    """One class: the means over its queries, and the query in their middle with its neighbours."""

    label: int
    queries: int
    recall: float
    map_at_r: float
    query: int  # of the median average precision, the first of equals
    neighbours: Int[np.ndarray, " k"]  # rows, nearest first
    confused: tuple[int, int] | None  # the commonest wrong class of nearest neighbours, how often


@dataclasses.dataclass(frozen=True)
class Means:
    """The means over each label's queries; NaN of a label without a query."""

    number: Int[np.ndarray, " l"]  # of queries
    recall: Float[np.ndarray, " l"]  # R@1
    map_at_r: Float[np.ndarray, " l"]


def ranking(run: EmbeddedRun) -> tuple[list[ClassResult], list[ClassResult], int]:
    """The best classes, best first, the worst, worst first, and how many have a query."""
    scores = query_scores(run)
    means = by_class(run.labels, scores)
    best, worst = (
        [_result(run, scores, means, int(label)) for label in part] for part in ends(means)
    )
    return best, worst, int(np.count_nonzero(means.number))


def query_scores(run: EmbeddedRun) -> metrics.Scores:
    """R@1 and MAP@R of every query of the split that has a positive, `rows` those of the run."""
    scores = protocols.scores(
        run.embedded.vectors, run.labels, (1,), gallery=run.gallery, ranking=_ranking(run)
    )
    queries = protocols.rows(len(run.labels), run.gallery).queries
    return dataclasses.replace(scores, rows=queries[scores.rows])


def by_class(labels: Int[np.ndarray, " n"], scores: metrics.Scores) -> Means:
    """The means of the queries' scores over each label."""
    own = labels[scores.rows]
    number = np.bincount(own, minlength=int(labels.max()) + 1)
    with np.errstate(invalid="ignore"):
        return Means(
            number,
            np.bincount(own, scores.recall[1], len(number)) / number,
            np.bincount(own, scores.average_precision, len(number)) / number,
        )


def ends(means: Means) -> tuple[Int[np.ndarray, " b"], Int[np.ndarray, " w"]]:
    """The labels of the best classes, best first, and of the worst, worst first.

    By MAP@R, then R@1, then more queries first, then the smaller label. No class is in both; where
    there are few, the best take theirs first. A class without a query is in none.
    """

    def first(sign: int, among: np.ndarray) -> np.ndarray:
        recall, average = sign * means.recall[among], sign * means.map_at_r[among]
        return among[np.lexsort((among, -means.number[among], recall, average))][:EACH]

    asked = np.flatnonzero(means.number)
    best = first(-1, asked)
    return best, first(1, np.setdiff1d(asked, best))


def neighbours(run: EmbeddedRun, rows: Int[np.ndarray, " q"]) -> Int[np.ndarray, "q k"]:
    """The nearest rows of each of `rows`, which is itself left out, or of the gallery alone."""
    _, searched, alone = protocols.rows(len(run.labels), run.gallery)
    k = min(SHOWN + alone, len(searched))
    _, near = knn(run.flat[rows], run.flat[searched], k, ranking=_ranking(run))
    pairs = zip(searched[near], rows, strict=True)
    return np.stack([nearest[nearest != own][: k - alone] for nearest, own in pairs])


def _ranking(run: EmbeddedRun) -> Ranking:
    return Ranking(block=run.measures.block)


def _result(run: EmbeddedRun, scores: metrics.Scores, means: Means, label: int) -> ClassResult:
    own = np.flatnonzero(run.labels[scores.rows] == label)
    rows, precision = scores.rows[own], scores.average_precision[own]
    middle = rows[np.argsort(precision, kind="stable")[(len(rows) - 1) // 2]]
    near = neighbours(run, np.concatenate([[middle], rows]))
    nearest = run.labels[near[1:, 0]]
    wrong, times = np.unique(nearest[nearest != label], return_counts=True)
    most = int(np.argmax(times)) if len(wrong) else -1
    return ClassResult(
        label=label,
        queries=len(rows),
        recall=float(means.recall[label]),
        map_at_r=float(means.map_at_r[label]),
        query=int(middle),
        neighbours=near[0],
        confused=(int(wrong[most]), int(times[most])) if len(wrong) else None,
    )
