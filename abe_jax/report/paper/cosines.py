"""Histograms of the cosine between learners, of one run or of several compared."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abe_jax.evaluation import cosine
from abe_jax.report import palette, tables
from abe_jax.report.curves import COSINES
from abe_jax.report.paper import style
from abe_jax.report.paper.captions import plain
from abe_jax.report.paper.run import Drawn, Picture, Run, Skipped

KINDS = ("same_image", "positive")


class Measured(NamedTuple):
    """What `cosine.between_learners` found of a run; nothing of one learner."""

    name: str
    words: str
    found: dict[str, Any]


class Line(NamedTuple):
    """One histogram: what it is called, its counts, and their mean."""

    label: str
    histogram: Sequence[int]
    mean: float


def measured(run: Run) -> Measured:
    """The cosines between a run's learners, as evaluation.json has them."""
    several = run.embedded.vectors.shape[1] > 1
    if not several:
        return Measured(run.name, run.words, {})
    found = cosine.between_learners(run.embedded.vectors, run.labels, run.gallery)
    return Measured(run.name, run.words, found)


@matplotlib.rc_context(style.RC)
def pictures(runs: Sequence[Measured]) -> Drawn:
    """One histogram above the other: of one run both kinds of pairs, of several a plot for each."""
    there = [run for run in runs if run.found]
    if not there:
        return Skipped("one learner has no other to compare with")
    figure = _one(there[0]) if len(there) == 1 else _several(there)
    rows = [
        [
            plain(run.name),
            COSINES[kind],
            f"{run.found[kind]['mean']:.3f}",
            f"{run.found[kind]['std']:.3f}",
        ]
        for run in there
        for kind in COSINES
        if kind in run.found
    ]
    left_out = ", ".join(plain(run.name) for run in runs if not run.found)
    caption = (
        "Cosine between the vectors of two different learners, on the same image and on two images "
        "of one class, in percent of the pairs; a line marks each mean. "
        + "; ".join(run.words for run in there)
        + "."
        + (f" Of one learner, so without such a cosine: {left_out}." if left_out else "")
        + "\n\n"
        + tables.markdown(rows, ["run", "pairs", "mean", "std"])
    )
    return [Picture("cosine", figure, caption)]


def _one(run: Measured) -> Figure:
    figure, (plot,) = style.plots(style.COLUMN, 1.9)
    lines = [
        Line(COSINES[kind], run.found[kind]["histogram"], run.found[kind]["mean"])
        for kind in KINDS
        if kind in run.found
    ]
    _draw(plot, lines, run.found["edges"])
    for patch, line in zip(plot.patches[1::2], lines, strict=True):
        patch.set_label(f"{line.label}, mean {line.mean:.2f}")
    _finish(figure, [plot])
    return figure


def _several(runs: Sequence[Measured]) -> Figure:
    kinds = [kind for kind in KINDS if any(kind in run.found for run in runs)]
    figure, found = style.plots(
        style.COLUMN, 0.3 + style.LINE * len(runs) + 1.25 * len(kinds), len(kinds)
    )
    for plot, kind in zip(found, kinds, strict=True):
        lines = [
            Line(
                style.label(run.name),
                run.found[kind]["histogram"],
                run.found[kind]["mean"],
            )
            for run in runs
            if kind in run.found
        ]
        _draw(plot, lines, runs[0].found["edges"])
        means = ", ".join(f"{line.mean:.2f}" for line in lines)
        plot.set_title(f"{COSINES[kind]}: mean {means}", loc="left", pad=3)
    _finish(figure, found)
    return figure


def _draw(plot: Axes, lines: Sequence[Line], edges: Sequence[float]) -> None:
    for at, line in enumerate(lines):
        counts = np.asarray(line.histogram, np.float64)
        share, colour = 100 * counts / counts.sum(), style.colour(at)
        dash = style.dash(at)
        plot.stairs(share, edges, fill=True, color=colour, alpha=0.18, linewidth=0)
        plot.stairs(share, edges, color=colour, linestyle=dash, linewidth=1, label=line.label)
        plot.axvline(line.mean, color=colour, linestyle=dash, linewidth=0.7)
    plot.set_ylim(bottom=0)
    plot.yaxis.set_major_locator(MaxNLocator(4))


def _finish(figure: Figure, found: Sequence[Axes]) -> None:
    """Names, and no empty bins at both ends, so that narrow histograms can be seen."""
    drawn = [patch.get_data() for plot in found for patch in plot.patches]  # pyright: ignore
    filled = np.flatnonzero(np.sum([d.values for d in drawn], axis=0) > 0.01)
    found[-1].set_xlim(float(drawn[0].edges[filled[0]]), float(drawn[0].edges[filled[-1] + 1]))
    found[-1].set_xlabel("cosine between two learners")
    handles = [patch for patch in found[0].patches if patch.get_label()]
    figure.legend(handles=handles, loc="outside upper left", frameon=False, handlelength=2.4)
    figure.supylabel("% of pairs", fontsize=style.TYPE, color=palette.light("ink"))
