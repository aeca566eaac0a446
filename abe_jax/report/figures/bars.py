"""Recall@1 of every row of a comparison as bars: ours beside the baselines."""

from collections.abc import Collection, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from abe_jax.report import ensemble_table, palette, plots
from abe_jax.report.ensemble_table import Reached, Spread
from abe_jax.report.figures import layout
from abe_jax.report.figures.captions import escaped
from abe_jax.report.figures.embedded_run import Drawn, Picture, Skipped
from abe_jax.report.figures.layout import PAPER

METRIC = "recall@1"
THICK = 0.62  # of a bar, in rows


@matplotlib.rc_context(PAPER.rc)
def pictures(rows: Sequence[Reached], ours: Collection[str], split: str) -> Drawn:
    """A bar for each row, first above; those of `ours` in colour.

    Args:
        rows: of a comparison, in the order of its table.
        ours: names of rows; the others are baselines.
        split: that was measured, for the caption.
    """
    shown = [row for row in rows if row.values("ensemble", METRIC)]
    if not shown:
        return Skipped(f"no row has Recall@1 on the {split} split")
    figure, (plot,) = plots.axes(PAPER, layout.COLUMN, 0.62 + 0.2 * len(shown))
    for at, row in enumerate(shown):
        _bar(plot, at, row, row.name in ours)
    _baseline(plot, shown)
    plot.set_yticks(range(len(shown)), [layout.drawable(row.name, 28) for row in shown])
    plot.set_ylim(len(shown) - 0.4, -0.6)
    plot.set_xlabel("Recall@1 (%)")
    plot.grid(visible=False, axis="y")
    plot.grid(axis="x", color=palette.light("rule"), linewidth=PAPER.grid)
    plot.set_xlim(0, 1.14 * max(value for row in shown for value in row.values("ensemble", METRIC)))
    if any(row.learners > 1 for row in shown):
        _legend(plot)
    seeds = sorted({len(row.evaluations) for row in shown})
    named = [escaped(row.name) for row in shown if row.name in ours]
    caption = (
        f"Recall@1 in percent on the {split} split: the mean over "
        f"{' or '.join(map(str, seeds))} seed(s); the line at a bar's end is their standard "
        "deviation, a dot the mean of the learners alone, the dotted line raw pixels without "
        f"training. In colour: {', '.join(named) or 'none'}."
        f"\n\n{ensemble_table.markdown(rows)}"
    )
    return [Picture("bars", figure, caption)]


def _bar(plot: Axes, at: int, row: Reached, ours: bool) -> None:
    value = Spread.of(row.values("ensemble", METRIC))
    colour = palette.light("blue" if ours else "soft")
    hatch = None if ours else "////"  # the two are apart in grey print too
    fill = colour if ours else "white"
    plot.barh(at, value.mean, THICK, color=fill, edgecolor=colour, hatch=hatch, linewidth=0.6)
    if value.std is not None:
        ink = {"ecolor": palette.light("ink"), "elinewidth": 0.8, "capsize": 1.6}
        plot.errorbar(value.mean, at, xerr=value.std, fmt="none", **ink)
    alone = row.values("learners_mean", METRIC)
    if row.learners > 1 and alone:
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.4, "linestyle": ""}
        orange = palette.light("orange")
        plot.plot(float(np.mean(alone)), at, marker="o", markersize=3.4, color=orange, **edge)
    plot.annotate(
        f"{value.mean:.1f}",
        (value.mean + (value.std or 0), at),
        xytext=(3, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=layout.SMALL,
        color=palette.light("ink"),
    )


def _baseline(plot: Axes, rows: Sequence[Reached]) -> None:
    """Raw pixels, where all rows that have them agree."""
    values = {round(value, 6) for row in rows for value in row.values("pixels", METRIC)}
    if len(values) == 1:
        plot.axvline(*values, color=palette.light("soft"), linestyle=(0, (1, 1.4)), linewidth=0.9)


def _legend(plot: Axes) -> None:
    blue, soft = palette.light("blue"), palette.light("soft")
    dot = plot.plot([], [], marker="o", markersize=3.4, linestyle="", color=palette.light("orange"))
    handles = [
        Patch(facecolor=blue, edgecolor=blue, label="ours"),
        Patch(facecolor="white", edgecolor=soft, hatch="////", label="baselines"),
        *dot,
    ]
    dot[0].set_label("one learner")
    figure = plot.get_figure()
    if figure is not None:
        figure.legend(  # pyright: ignore[reportAttributeAccessIssue]
            handles=handles, loc="outside upper left", ncols=3, frameon=False, handlelength=1.6
        )
