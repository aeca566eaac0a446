"""Recall@K over K: the ensemble, its learners and the floor, of one run or of several."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from abe_jax import evaluation
from abe_jax.evaluation import baselines, protocols
from abe_jax.report import palette, tables
from abe_jax.report.paper import style
from abe_jax.report.paper.captions import plain
from abe_jax.report.paper.run import NOTHING_TO_FIND, Drawn, Picture, Run, Skipped

DEEPEST = 64


class Curves(NamedTuple):
    """A run's metrics as `retrieval.evaluate` names them, at every K of `ks`."""

    name: str
    words: str
    ks: list[int]
    metrics: dict[str, Any]


def measured(run: Run) -> Curves:
    """Recall@K for the Ks of the run's evaluation and every power of two up to 64.

    Each is what evaluation.json has for that K: the same vectors, by the same search. No K where
    no image has another of its class to find.
    """
    if not protocols.positives(run.labels, run.gallery).any():
        return Curves(run.name, run.words, [], {})
    evaluate = run.config.evaluate
    others = protocols.rows(len(run.labels), run.gallery).reach
    ks = sorted({*evaluate.ks, *(2**i for i in range(DEEPEST.bit_length()))})
    ks = [k for k in ks if k <= others]
    found = evaluation.evaluate(
        run.embedded.vectors,
        run.labels,
        ks=ks,
        gallery=run.gallery,
        pixels=baselines.small_pixels(run.split, run.config, run.embedded.instances),
        block=evaluate.block,
    )
    return Curves(run.name, run.words, ks, found["metrics"])


@matplotlib.rc_context(style.RC)
def pictures(runs: Sequence[Curves]) -> Drawn:
    """One plot of all runs, K on a logarithmic axis."""
    there = [run for run in runs if run.ks]
    if not there:
        return Skipped(NOTHING_TO_FIND)
    named = len(there) > 1
    figure, (plot,) = style.plots(style.COLUMN, 2.3 + style.LINE * len(there) * named)
    for at, run in enumerate(there):
        _draw(plot, run, at)
    _floors(plot, there)
    _axes(plot, there)
    _legends(figure, plot, there)
    caption = (
        "Recall@K in percent: the share of queries with an image of their class among the K "
        "nearest. Lines: the ensemble; dashed with a band: its learners alone, their mean and "
        "standard deviation; dotted: raw pixels, no training. "
        + "; ".join(run.words for run in there)
        + ".\n\n"
        + "\n\n".join(_table(run) for run in there)
    )
    return [Picture("recall", figure, caption)]


def values(run: Curves, part: str) -> np.ndarray:
    """Recall@K in percent of a part of the metrics, over the run's Ks."""
    return 100 * np.array([run.metrics[part][f"recall@{k}"] for k in run.ks])


def _draw(plot: Axes, run: Curves, at: int) -> None:
    look: dict[str, Any] = style.marks(at) | {"linestyle": "-"}
    plot.plot(
        run.ks,
        values(run, "ensemble"),
        label=style.label(run.name),
        zorder=3,
        **look,
    )
    if len(run.metrics["learners"]) > 1:
        mean, std = values(run, "learners_mean"), values(run, "learners_std")
        colour = style.colour(at)
        plot.fill_between(run.ks, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
        plot.plot(run.ks, mean, color=colour, linestyle=(0, (4, 1.5)), linewidth=0.8)


def _floors(plot: Axes, runs: Sequence[Curves]) -> None:
    """The floor, once where all runs have the same; else of each run, in its colour."""
    alike = _alike(runs)
    for at, run in enumerate(runs[:1] if alike else runs):
        colour = palette.light("soft") if alike else style.colour(at)
        plot.plot(run.ks, values(run, "pixels"), color=colour, linestyle=(0, (1, 1.4)))


def _alike(runs: Sequence[Curves]) -> bool:
    """Whether all runs have one floor, as those on the same images have."""
    return len({(tuple(run.ks), tuple(values(run, "pixels"))) for run in runs}) == 1


def _axes(plot: Axes, runs: Sequence[Curves]) -> None:
    ks = sorted({k for run in runs for k in run.ks})
    powers = [k for k in ks if k & (k - 1) == 0]
    plot.set_xscale("log", base=2)
    plot.set_xticks(powers, [str(k) for k in powers])
    plot.set_xticks([], minor=True)
    plot.set_xlabel("K")
    plot.set_ylabel("Recall@K (%)")
    plot.set_ylim(top=min(100.5, plot.get_ylim()[1]))


def _legends(figure: Figure, plot: Axes, runs: Sequence[Curves]) -> None:
    own = style.marks(0) | {"linestyle": "-"}
    ink = palette.light("ink") if len(runs) > 1 else style.colour(0)
    look: dict[str, Any] = own if len(runs) == 1 else {"color": ink}
    kinds = [Line2D([], [], label="ensemble" if _many(runs) else "embedding", **look)]
    if _many(runs):
        dashed = Line2D([], [], color=ink, linestyle=(0, (4, 1.5)), linewidth=0.8)
        dashed.set_label("learners, mean ± std")
        kinds.append(dashed)
    floor_colour = palette.light("soft") if _alike(runs) else palette.light("ink")
    kinds.append(Line2D([], [], color=floor_colour, linestyle=(0, (1, 1.4)), label="raw pixels"))
    if len(runs) > 1:
        handles, _ = plot.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside upper left", frameon=False, handlelength=2.4)
    plot.legend(handles=kinds, loc="best", frameon=False, handlelength=2.4)


def _many(runs: Sequence[Curves]) -> bool:
    return any(len(run.metrics["learners"]) > 1 for run in runs)


def _table(run: Curves) -> str:
    many = len(run.metrics["learners"]) > 1
    parts = {"ensemble" if many else "embedding": "ensemble"}
    if many:
        parts |= {"learners, mean": "learners_mean", "learners, std": "learners_std"}
    parts |= {"raw pixels": "pixels"}
    rows = [[name, *(f"{v:.2f}" for v in values(run, part))] for name, part in parts.items()]
    return tables.markdown(rows, [plain(run.name), *(f"R@{k} %" for k in run.ks)])
