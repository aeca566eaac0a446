"""Pictures of the cosine between learners, of one run or of several compared."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abe_jax.evaluation import cosine
from abe_jax.report import cosines, palette, plots, tables
from abe_jax.report.cosines import PAIRS, Histogram
from abe_jax.report.figures import layout
from abe_jax.report.figures.captions import escaped
from abe_jax.report.figures.embedded_run import Drawn, EmbeddedRun, Picture, Skipped
from abe_jax.report.figures.layout import PAPER

KINDS = ("same_image", "positive")  # of pairs, that are drawn


class RunCosines(NamedTuple):
    """The cosines between a run's learners by kind of pairs; empty of one learner."""

    name: str
    words: str
    histograms: Mapping[str, Histogram]


def measured(run: EmbeddedRun) -> RunCosines:
    """The cosines between a run's learners, as evaluation.json has them."""
    several = run.embedded.vectors.shape[1] > 1
    if not several:
        return RunCosines(run.name, run.words, {})
    values = cosine.between_learners(run.embedded.vectors, run.labels, run.gallery)
    return RunCosines(run.name, run.words, cosines.histograms(values))


@matplotlib.rc_context(PAPER.rc)
def pictures(runs: Sequence[RunCosines]) -> Drawn:
    """One plot of both kinds of pairs for one run; for several runs one plot for each kind."""
    several = [run for run in runs if run.histograms]
    if not several:
        return Skipped("one learner has no other to compare with")
    figure = _one(several[0]) if len(several) == 1 else _compared(several)
    left_out = ", ".join(escaped(run.name) for run in runs if not run.histograms)
    caption = (
        "Cosine between the vectors of two different learners, on the same image and on two images "
        "of one class, in percent of the pairs; a line marks each mean. "
        + "; ".join(run.words for run in several)
        + "."
        + (f" Of one learner, so without such a cosine: {left_out}." if left_out else "")
        + f"\n\n{_table(several)}"
    )
    return [Picture("cosine", figure, caption)]


def _table(runs: Sequence[RunCosines]) -> str:
    rows = [
        [escaped(run.name), PAIRS[kind], f"{one.mean:.3f}", f"{one.std:.3f}"]
        for run in runs
        for kind, one in run.histograms.items()
    ]
    return tables.markdown(rows, ["run", "pairs", "mean", "std"])


def _one(run: RunCosines) -> Figure:
    figure, axes = plots.axes(PAPER, layout.COLUMN, 1.9)
    shown = [
        one._replace(title=f"{one.title}, mean {one.mean:.2f}")
        for kind, one in run.histograms.items()
        if kind in KINDS
    ]
    _draw(axes[0], shown)
    _finish(figure, axes, shown)
    return figure


def _compared(runs: Sequence[RunCosines]) -> Figure:
    kinds = [kind for kind in KINDS if any(kind in run.histograms for run in runs)]
    height = 0.3 + layout.LINE * len(runs) + 1.25 * len(kinds)
    figure, axes = plots.axes(PAPER, layout.COLUMN, height, len(kinds))
    drawn: list[Histogram] = []
    for plot, kind in zip(axes, kinds, strict=True):
        shown = [
            run.histograms[kind]._replace(title=layout.label(run.name))
            for run in runs
            if kind in run.histograms
        ]
        _draw(plot, shown)
        means = ", ".join(f"{one.mean:.2f}" for one in shown)
        plot.set_title(f"{PAIRS[kind]}: mean {means}", loc="left", pad=3)
        drawn += shown
    _finish(figure, axes, drawn)
    return figure


def _draw(plot: Axes, shown: Sequence[Histogram]) -> None:
    for series, one in enumerate(shown):
        cosines.draw(plot, one, PAPER, series)
    plot.yaxis.set_major_locator(MaxNLocator(4))


def _finish(figure: Figure, axes: Sequence[Axes], drawn: Sequence[Histogram]) -> None:
    cosines.trim(axes[-1], drawn)
    axes[-1].set_xlabel("cosine between two learners")
    handles = [patch for patch in axes[0].patches if patch.get_label()]
    figure.legend(handles=handles, loc="outside upper left", frameon=False, handlelength=2.4)
    figure.supylabel("% of pairs", fontsize=layout.TYPE, color=palette.light("ink"))
