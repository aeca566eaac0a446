"""Learning curves and histograms as inline SVG that follows the page's colours and font."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abe_jax.report import history, palette

POINTS = 400  # at most so many of a line
SMOOTH_FROM = 40  # a line of so many points gets its moving mean
SERIES = ("blue", "orange", "green", "purple", "ink", "soft")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that plots are laid out alike
    "font.size": 8.5,
    "text.parse_math": False,
    "axes.unicode_minus": False,
}


def axes(width: float = 5.4, height: float = 2.9, count: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many plots above each other, bare of everything that is not data."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    plots = list(np.ravel(figure.subplots(count, 1, sharex=True)))
    for plot in plots:
        plot.patch.set_alpha(0)
        plot.spines[["top", "right", "left"]].set_visible(False)
        plot.spines["bottom"].set_color(palette.light("soft"))
        plot.tick_params(colors=palette.light("soft"), length=0)
        plot.grid(axis="y", color=palette.light("rule"), linewidth=0.7)
        plot.set_axisbelow(True)
        plot.margins(x=0.01)
    return figure, plots


def svg(figure: Figure, described: str) -> str:
    """The figure as an `<svg>` element to stand in a page; `described` is escaped already."""
    buffer = io.StringIO()
    bare: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    salt: dict[Any, Any] = {"svg.hashsalt": described}  # equal ids in equal plots, and only there
    with matplotlib.rc_context(salt):
        figure.savefig(buffer, format="svg", metadata=bare)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>\s*", "", text, flags=re.DOTALL)  # would rule the whole page
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # these would come again in the next plot
    text = text.replace("'DejaVu Sans', sans-serif", "var(--sans)")
    view = re.search(r'viewBox="[^"]*"', text)
    opening = f'<svg role="img" aria-label="{described}" {view.group() if view else ""}>'
    text = re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)
    for name, colour in palette.COLOURS.items():
        text = text.replace(colour.light, f"var(--{name})")
    return text.strip()


def curve(
    plot: Axes, past: history.History, column: str, *, label: str, at: int, scale: float = 1.0
) -> None:
    """Draws one column; a long one faint, with its moving mean over it."""
    steps, values = history.thinned(*history.measured(past, column), POINTS)
    if not len(steps):
        return
    colour, dash = palette.light(SERIES[at % len(SERIES)]), DASHES[at % len(DASHES)]
    values = values * scale
    if len(steps) >= SMOOTH_FROM:
        plot.plot(steps, values, color=colour, alpha=0.28, linewidth=0.8)
        values = history.smoothed(values, len(steps) // 40 * 2 + 1)
    marker = "o" if len(steps) < SMOOTH_FROM else ""
    plot.plot(steps, values, color=colour, linestyle=dash, marker=marker, ms=3, label=label)


@matplotlib.rc_context(RC)
def curves(
    past: history.History,
    columns: Mapping[str, str],
    *,
    described: str,
    lines: Mapping[str, float] | None = None,
    marked: tuple[float, str] | None = None,
    scale: float = 1.0,
) -> str:
    """Columns of metrics.csv over the steps; empty text where none of them was measured.

    Args:
        past: from `history.read`.
        columns: column -> its name in the legend.
        described: the plot in a sentence, for who cannot see it; escaped already.
        lines: label -> height of a level line across the plot.
        marked: a step to mark and what to call it.
        scale: what the values are multiplied by, 100 for percent.
    """
    shown = {name: title for name, title in columns.items() if name in past}
    if not shown:
        return ""
    figure, (plot,) = axes()
    for at, (name, title) in enumerate(shown.items()):
        curve(plot, past, name, label=title, at=at, scale=scale)
    for label, level in (lines or {}).items():
        plot.axhline(level * scale, color=palette.light("soft"), linewidth=1, linestyle=(0, (2, 2)))
        plot.annotate(
            label,
            (1, level * scale),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=palette.light("soft"),
            bbox={"facecolor": palette.light("card"), "edgecolor": "none", "pad": 0.8},
            zorder=5,
        )
    if marked is not None:
        step, label = marked
        plot.axvline(step, color=palette.light("ink"), linewidth=1)
        _above(plot, step, label)
    plot.set_xlabel("step", color=palette.light("soft"))
    figure.legend(loc="outside upper left", ncols=4, frameon=False, labelcolor=palette.light("ink"))
    return svg(figure, described)


def _above(plot: Axes, step: float, label: str) -> None:
    """Writes a mark's name above the plot, on the side where there is room."""
    low, high = plot.get_xlim()
    late = step > (low + high) / 2
    plot.annotate(
        label,
        (step, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if late else 3, 2),
        textcoords="offset points",
        ha="right" if late else "left",
        color=palette.light("ink"),
    )


@matplotlib.rc_context(RC)
def histograms(cosine: Mapping[str, Any], kinds: Mapping[str, str], *, described: str) -> str:
    """One histogram of cosines above the other on one axis, each with its mean marked.

    Args:
        cosine: "edges" and, for each kind, "histogram" (counts or shares), "mean" and "std".
        kinds: key of `cosine` -> title, in drawing order; missing ones are left out.
        described: as in `curves`.
    """
    counts = {kind: np.asarray(cosine.get(kind, {}).get("histogram", []), float) for kind in kinds}
    shown = {kind: title for kind, title in kinds.items() if counts[kind].sum() > 0}
    if not shown:
        return ""
    edges = np.asarray(cosine["edges"], np.float64)
    figure, plots = axes(width=11.0, height=1.35 * len(shown) + 0.5, count=len(shown))
    for at, (plot, (kind, title)) in enumerate(zip(plots, shown.items(), strict=True)):
        share = 100 * counts[kind] / counts[kind].sum()
        colour = palette.light(SERIES[at])
        plot.stairs(share, edges, fill=True, color=colour, alpha=0.3)
        plot.stairs(share, edges, color=colour, linewidth=1.2)
        plot.axvline(cosine[kind]["mean"], color=palette.light("ink"), linewidth=1)
        mean = f"{title}: mean {cosine[kind]['mean']:.3f}, std {cosine[kind]['std']:.3f}"
        plot.set_title(mean, loc="left", fontsize=9, color=palette.light("ink"))
        plot.set_ylim(bottom=0)
        plot.yaxis.set_major_locator(MaxNLocator(3))
    _trim(plots[-1], edges, [counts[kind] for kind in shown])
    plots[-1].set_xlabel("cosine between two different learners", color=palette.light("soft"))
    figure.supylabel("% of pairs", color=palette.light("soft"), fontsize=8.5)
    return svg(figure, described)


def _trim(plot: Axes, edges: np.ndarray, counts: Sequence[np.ndarray]) -> None:
    """Leaves out empty bins at both ends, so that narrow histograms can be seen."""
    filled = np.flatnonzero(np.sum([count / count.sum() for count in counts], axis=0) > 1e-4)
    plot.set_xlim(float(edges[filled[0]]), float(edges[filled[-1] + 1]))
