"""Pictures of the classes that a run retrieves best and worst, as rows of images."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from abe_jax.evaluation import protocols
from abe_jax.report import palette, tables
from abe_jax.report.figures import layout
from abe_jax.report.figures.canvas import Canvas, canvas
from abe_jax.report.figures.captions import escaped
from abe_jax.report.figures.class_ranking import SHOWN, ClassResult, ranking
from abe_jax.report.figures.embedded_run import (
    NOTHING_TO_FIND,
    Drawn,
    EmbeddedRun,
    Picture,
    Skipped,
)

LEFT, GAP, LINE, HEAD, BETWEEN = 1.45, 0.05, 0.13, 0.16, 0.14  # inches
SIDE = (layout.PAGE - LEFT - BETWEEN - (SHOWN + 1) * GAP) / (SHOWN + 1)


@matplotlib.rc_context(layout.RC)
def pictures(run: EmbeddedRun) -> Drawn:
    """The best and the worst classes by MAP@R, as rows of images."""
    if not protocols.positives(run.labels, run.gallery).any():
        return Skipped(NOTHING_TO_FIND)
    best, worst, classes = ranking(run)
    caption = (
        f"{_ends(len(best), len(worst), classes)}; of equals by R@1, then "
        "of more queries, then in the data's order. Each with the query of its median average "
        "precision and that one's nearest neighbours, nearest first: of the query's class in a "
        "solid blue frame, of another in a dashed orange one, with its name. "
        f"{run.words}.\n\n{_table(run, [*best, *worst])}"
    )
    return [Picture("classes", _figure(run, best, worst), caption)]


def _table(run: EmbeddedRun, results: Sequence[ClassResult]) -> str:
    names = run.split.class_names
    rows = [
        [
            escaped(names[one.label]),
            one.queries,
            f"{one.map_at_r:.3f}",
            f"{100 * one.recall:.1f}",
            f"{escaped(names[one.confused[0]])} ({one.confused[1]})" if one.confused else None,
        ]
        for one in results
    ]
    header = ["class", "queries", "MAP@R", "R@1 %", "nearest of another class (times)"]
    return tables.markdown(rows, header)


def _ends(best: int, worst: int, classes: int) -> str:
    if not worst:
        return "All classes by MAP@R, the highest first"
    return (
        f"The {best} classes of the highest and the {worst} of the lowest MAP@R among {classes:,}"
    )


def _figure(run: EmbeddedRun, *ends: Sequence[ClassResult]) -> Figure:
    line = SIDE + LINE
    heads = ["best classes", "worst classes"]
    used = [(head, part) for head, part in zip(heads, ends, strict=True) if part]
    drawn = canvas(layout.PAGE, sum(HEAD + 0.06 + line * len(part) for _, part in used))
    y = 0.0
    for head, part in used:
        ink = {"va": "center", "fontsize": layout.TYPE}
        drawn.text(0.02, y + HEAD / 2 + 0.03, head, **ink)
        drawn.text(LEFT, y + HEAD / 2 + 0.03, "query", **ink)
        words = "nearest neighbours"
        drawn.text(LEFT + SIDE + GAP + BETWEEN, y + HEAD / 2 + 0.03, words, **ink)
        y += HEAD + 0.06
        for one in part:
            _row(drawn, run, one, y)
            y += line
    return drawn.figure


def _row(drawn: Canvas, run: EmbeddedRun, one: ClassResult, y: float) -> None:
    soft = palette.light("soft")
    drawn.text(0.02, y + 0.06, run.split.class_names[one.label], most=24, fontsize=layout.TYPE)
    means = f"MAP@R {one.map_at_r:.3f}   R@1 {100 * one.recall:.1f} %"
    drawn.text(0.02, y + 0.22, means)
    drawn.text(0.02, y + 0.35, f"{one.queries} queries", color=soft)
    rows = np.concatenate([[one.query], one.neighbours])
    for column, (row, image) in enumerate(zip(rows, run.images(rows), strict=True)):
        x = LEFT + column * (SIDE + GAP) + BETWEEN * (column > 0)
        same = run.labels[row] == one.label
        frame = palette.light("ink" if not column else "blue" if same else "orange")
        drawn.image(x, y, SIDE, image, frame=frame, dashed=not same)
        if not same:
            name = run.class_name(int(row))
            drawn.text(x, y + SIDE + 0.02, name, most=13, color=frame, fontsize=5)
