"""The classes that a run retrieves best and worst, with a query of each and what it found."""

import dataclasses

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from abe_jax import evaluation
from abe_jax.data import loader
from abe_jax.evaluation import metrics, protocols
from abe_jax.report import palette, tables
from abe_jax.report.paper import style
from abe_jax.report.paper.canvas import Canvas, canvas
from abe_jax.report.paper.captions import plain
from abe_jax.report.paper.run import NOTHING_TO_FIND, Drawn, Picture, Run, Skipped

EACH = 4  # classes at either end
SHOWN = 7  # neighbours
LEFT, GAP, LINE, HEAD, APART = 1.45, 0.05, 0.13, 0.16, 0.14  # inches
SIDE = (style.PAGE - LEFT - APART - (SHOWN + 1) * GAP) / (SHOWN + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfClass:
    """One class: its means over its queries, the query in their middle and what that found."""

    label: int
    queries: int
    recall: float
    map_at_r: float
    query: int  # of the median average precision, the first of equals
    neighbours: Int[np.ndarray, " k"]  # rows, nearest first
    confused: tuple[int, int] | None  # the commonest wrong class of nearest neighbours, how often


@matplotlib.rc_context(style.RC)
def pictures(run: Run) -> Drawn:
    """The best and the worst classes by MAP@R, as rows of images."""
    if not protocols.positives(run.labels, run.gallery).any():
        return Skipped(NOTHING_TO_FIND)
    scores = asked(run)
    best, worst, recall, average = ranked(run.labels, scores)
    told = [
        [_of_class(run, scores, int(c), recall, average) for c in part] for part in (best, worst)
    ]
    rows = [
        [
            plain(run.split.class_names[one.label]),
            one.queries,
            f"{100 * one.recall:.1f}",
            f"{one.map_at_r:.3f}",
            f"{plain(run.split.class_names[one.confused[0]])} ({one.confused[1]})"
            if one.confused
            else None,
        ]
        for part in told
        for one in part
    ]
    header = ["class", "queries", "R@1 %", "MAP@R", "nearest of another class (times)"]
    caption = (
        f"{_ends(len(best), len(worst), int(np.isfinite(average).sum()))}; of equals by R@1, then "
        "of more queries, then in the data's order. Each with the query of its median average "
        "precision and that one's nearest neighbours, nearest first: of the query's class in a "
        "solid blue frame, of another in a dashed orange one, with its name. "
        f"{run.words}.\n\n{tables.markdown(rows, header)}"
    )
    return [Picture("classes", _figure(run, told), caption)]


def _ends(best: int, worst: int, there: int) -> str:
    if not worst:
        return "All classes by MAP@R, the highest first"
    return f"The {best} classes of the highest and the {worst} of the lowest MAP@R among {there:,}"


def asked(run: Run) -> metrics.Scores:
    """R@1 and MAP@R of every query of the split that has a positive, `rows` those of the run."""
    found = protocols.scores(
        run.embedded.vectors, run.labels, (1,), gallery=run.gallery, block=_block(run)
    )
    queries = protocols.rows(len(run.labels), run.gallery).queries
    return dataclasses.replace(found, rows=queries[found.rows])


def ranked(
    labels: Int[np.ndarray, " n"], scores: metrics.Scores
) -> tuple[
    Int[np.ndarray, " b"],
    Int[np.ndarray, " w"],
    Float[np.ndarray, " l"],
    Float[np.ndarray, " l"],
]:
    """The best classes, best first, the worst, worst first, and R@1 and MAP@R of each label.

    By MAP@R, then R@1, then more queries first, then the smaller label. No class is in both; the
    best come first where there are few. A class without a query is in none, its values are NaN.
    """
    own = labels[scores.rows]
    number = np.bincount(own, minlength=int(labels.max()) + 1)
    with np.errstate(invalid="ignore"):
        recall = np.bincount(own, scores.recall[1], len(number)) / number
        average = np.bincount(own, scores.average_precision, len(number)) / number
    there = np.flatnonzero(number)

    def first(sign: int, among: np.ndarray) -> np.ndarray:
        keys = (among, -number[among], sign * recall[among], sign * average[among])
        return among[np.lexsort(keys)][:EACH]

    best = first(-1, there)
    return best, first(1, np.setdiff1d(there, best)), recall, average


def _block(run: Run) -> int:
    return run.config.evaluate.block


def _of_class(
    run: Run, scores: metrics.Scores, label: int, recall: np.ndarray, average: np.ndarray
) -> OfClass:
    places = np.flatnonzero(run.labels[scores.rows] == label)
    rows, precision = scores.rows[places], scores.average_precision[places]
    middle = rows[np.argsort(precision, kind="stable")[(len(rows) - 1) // 2]]
    found = neighbours(run, np.concatenate([[middle], rows]))
    nearest = run.labels[found[1:, 0]]
    wrong, times = np.unique(nearest[nearest != label], return_counts=True)
    most = int(np.argmax(times)) if len(wrong) else -1
    return OfClass(
        label=label,
        queries=len(rows),
        recall=float(recall[label]),
        map_at_r=float(average[label]),
        query=int(middle),
        neighbours=found[0],
        confused=(int(wrong[most]), int(times[most])) if len(wrong) else None,
    )


def neighbours(run: Run, rows: Int[np.ndarray, " q"]) -> Int[np.ndarray, "q k"]:
    """What each of `rows` finds: itself left out by index, or of the gallery alone."""
    _, searched, alone = protocols.rows(len(run.labels), run.gallery)
    k = min(SHOWN + alone, len(searched))
    _, near = evaluation.nearest(run.flat[rows], run.flat[searched], k, block=_block(run))
    found = zip(searched[near], rows, strict=True)
    return np.stack([row[row != own][: k - alone] for row, own in found])


def _figure(run: Run, told: list[list[OfClass]]) -> Figure:
    line = SIDE + LINE
    heads = ["best classes", "worst classes"]
    used = [(head, part) for head, part in zip(heads, told, strict=True) if part]
    drawn = canvas(style.PAGE, sum(HEAD + 0.06 + line * len(part) for _, part in used))
    y = 0.0
    for head, part in used:
        ink = {"va": "center", "fontsize": style.TYPE}
        drawn.text(0.02, y + HEAD / 2 + 0.03, head, **ink)
        drawn.text(LEFT, y + HEAD / 2 + 0.03, "query", **ink)
        words = "nearest neighbours"
        drawn.text(LEFT + SIDE + GAP + APART, y + HEAD / 2 + 0.03, words, **ink)
        y += HEAD + 0.06
        for one in part:
            _row(drawn, run, one, y)
            y += line
    return drawn.figure


def _row(drawn: Canvas, run: Run, one: OfClass, y: float) -> None:
    soft = palette.light("soft")
    drawn.text(0.02, y + 0.06, run.split.class_names[one.label], most=24, fontsize=style.TYPE)
    means = f"R@1 {100 * one.recall:.1f} %   MAP@R {one.map_at_r:.3f}"
    drawn.text(0.02, y + 0.22, means)
    drawn.text(0.02, y + 0.35, f"{one.queries} queries", color=soft)
    rows = np.concatenate([[one.query], one.neighbours])
    images = loader.seen(run.split, run.config.data, run.embedded.instances[rows])
    for place, (row, image) in enumerate(zip(rows, images, strict=True)):
        x = LEFT + place * (SIDE + GAP) + APART * (place > 0)
        same = run.labels[row] == one.label
        frame = palette.light("ink" if not place else "blue" if same else "orange")
        drawn.image(x, y, SIDE, image, frame=frame, dashed=not same)
        if not same:
            name = run.class_name(int(row))
            drawn.text(x, y + SIDE + 0.02, name, most=13, color=frame, fontsize=5)
