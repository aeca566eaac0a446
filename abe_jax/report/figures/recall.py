"""Recall@K over K: the ensemble, its learners and the baseline, of one run or of several."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from abe_jax.evaluation import baselines, protocols
from abe_jax.evaluation.options import Measures
from abe_jax.evaluation.protocols import GroundTruth
from abe_jax.evaluation.retrieval import evaluate
from abe_jax.report import palette, plots, tables
from abe_jax.report.figures import layout
from abe_jax.report.figures.captions import escaped
from abe_jax.report.figures.embedded_run import (
    NOTHING_TO_FIND,
    Drawn,
    EmbeddedRun,
    Picture,
    Skipped,
)
from abe_jax.report.figures.layout import PAPER

DEEPEST = 64


class RecallCurves(NamedTuple):
    """A run's metrics as `evaluation.evaluate` names them, at every K of `ks`."""

    name: str
    words: str
    ks: tuple[int, ...]
    metrics: dict[str, Any]


def measured(run: EmbeddedRun) -> RecallCurves:
    """Recall@K for the Ks of the run's evaluation and every power of two up to 64.

    Each is what evaluation.json has for that K: the same vectors, by the same search. No K where
    no image has another of its class to find.
    """
    if not protocols.positives(run.labels, run.gallery).any():
        return RecallCurves(run.name, run.words, (), {})
    neighbours = protocols.rows(len(run.labels), run.gallery).neighbours
    depths = {*run.measures.ks, *(2**i for i in range(DEEPEST.bit_length()))}
    ks = tuple(sorted(k for k in depths if k <= neighbours))
    measures = Measures(ks=ks, block=run.measures.block)
    ids = run.embedded.image_ids
    results = evaluate(
        run.embedded.vectors,
        GroundTruth(run.labels, run.gallery),
        measures,
        pixels=baselines.small_pixels(run.embedder.network, run.split, ids),
    )
    return RecallCurves(run.name, run.words, measures.ks, results["metrics"])


@matplotlib.rc_context(PAPER.rc)
def pictures(runs: Sequence[RecallCurves]) -> Drawn:
    """One plot of all runs, K on a logarithmic axis."""
    shown = [run for run in runs if run.ks]
    if not shown:
        return Skipped(NOTHING_TO_FIND)
    named = len(shown) > 1
    figure, (plot,) = plots.axes(PAPER, layout.COLUMN, 2.3 + layout.LINE * len(shown) * named)
    for series, run in enumerate(shown):
        _draw(plot, run, series)
    _baselines(plot, shown)
    _axes(plot, shown)
    _legends(figure, plot, shown)
    caption = (
        "Recall@K in percent: the share of queries with an image of their class among the K "
        "nearest. Lines: the ensemble; dashed with a band: its learners alone, their mean and "
        "standard deviation; dotted: raw pixels, no training. "
        + "; ".join(run.words for run in shown)
        + ".\n\n"
        + "\n\n".join(_table(run) for run in shown)
    )
    return [Picture("recall", figure, caption)]


def values(run: RecallCurves, part: str) -> np.ndarray:
    """Recall@K in percent of a part of the metrics, over the run's Ks."""
    return 100 * np.array([run.metrics[part][f"recall@{k}"] for k in run.ks])


def _draw(plot: Axes, run: RecallCurves, series: int) -> None:
    look: dict[str, Any] = plots.marks(series) | {"linestyle": "-"}
    plot.plot(
        run.ks,
        values(run, "ensemble"),
        label=layout.label(run.name),
        zorder=3,
        **look,
    )
    if len(run.metrics["learners"]) > 1:
        mean, std = values(run, "learners_mean"), values(run, "learners_std")
        colour = plots.colour(series)
        plot.fill_between(run.ks, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
        plot.plot(run.ks, mean, color=colour, linestyle=(0, (4, 1.5)), linewidth=0.8)


def _baselines(plot: Axes, runs: Sequence[RecallCurves]) -> None:
    """The baseline: once where all runs have the same, else of each run, in its colour."""
    alike = _alike(runs)
    for series, run in enumerate(runs[:1] if alike else runs):
        colour = palette.light("soft") if alike else plots.colour(series)
        plot.plot(run.ks, values(run, "pixels"), color=colour, linestyle=(0, (1, 1.4)))


def _alike(runs: Sequence[RecallCurves]) -> bool:
    """Whether all runs have one baseline, as those on the same images have."""
    return len({(run.ks, tuple(values(run, "pixels"))) for run in runs}) == 1


def _axes(plot: Axes, runs: Sequence[RecallCurves]) -> None:
    ks = sorted({k for run in runs for k in run.ks})
    powers = [k for k in ks if k & (k - 1) == 0]
    plot.set_xscale("log", base=2)
    plot.set_xticks(powers, [str(k) for k in powers])
    plot.set_xticks([], minor=True)
    plot.set_xlabel("K")
    plot.set_ylabel("Recall@K (%)")
    plot.set_ylim(top=min(100.5, plot.get_ylim()[1]))


def _legends(figure: Figure, plot: Axes, runs: Sequence[RecallCurves]) -> None:
    own = plots.marks(0) | {"linestyle": "-"}
    ink = palette.light("ink") if len(runs) > 1 else plots.colour(0)
    look: dict[str, Any] = own if len(runs) == 1 else {"color": ink}
    kinds = [Line2D([], [], label="ensemble" if _many(runs) else "embedding", **look)]
    if _many(runs):
        dashed = Line2D([], [], color=ink, linestyle=(0, (4, 1.5)), linewidth=0.8)
        dashed.set_label("learners, mean ± std")
        kinds.append(dashed)
    baseline_colour = palette.light("soft") if _alike(runs) else palette.light("ink")
    kinds.append(Line2D([], [], color=baseline_colour, linestyle=(0, (1, 1.4)), label="raw pixels"))
    if len(runs) > 1:
        handles, _ = plot.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside upper left", frameon=False, handlelength=2.4)
    plot.legend(handles=kinds, loc="best", frameon=False, handlelength=2.4)


def _many(runs: Sequence[RecallCurves]) -> bool:
    return any(len(run.metrics["learners"]) > 1 for run in runs)


def _table(run: RecallCurves) -> str:
    many = len(run.metrics["learners"]) > 1
    parts = {"ensemble" if many else "embedding": "ensemble"}
    if many:
        parts |= {"learners, mean": "learners_mean", "learners, std": "learners_std"}
    parts |= {"raw pixels": "pixels"}
    rows = [[name, *(f"{v:.2f}" for v in values(run, part))] for name, part in parts.items()]
    return tables.markdown(rows, [escaped(run.name), *(f"R@{k} %" for k in run.ks)])
