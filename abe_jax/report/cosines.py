"""Histograms of the cosine between learners, and the page's section of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from abe_jax.report import html, palette, plots, svg

PAIRS = {
    "same_image": "same image",
    "positive": "two images of one class",
    "negative": "images of two classes",
}


class Histogram(NamedTuple):
    """The cosines of one kind of pairs."""

    title: str
    edges: Float[np.ndarray, " e"]
    percent: Float[np.ndarray, " b"]  # of the pairs, in each bin
    mean: float
    std: float


def histograms(cosine: Mapping[str, Any]) -> dict[str, Histogram]:
    """The histograms in evaluation.json[split]["cosine"] by kind of pairs, of kinds with any."""
    counts = {kind: np.asarray(cosine.get(kind, {}).get("histogram", []), float) for kind in PAIRS}
    return {
        kind: Histogram(
            title=PAIRS[kind],
            edges=np.asarray(cosine["edges"], np.float64),
            percent=100 * count / count.sum(),
            mean=cosine[kind]["mean"],
            std=cosine[kind]["std"],
        )
        for kind, count in counts.items()
        if count.sum() > 0
    }


def draw(
    plot: Axes, histogram: Histogram, look: plots.Look, series: int, *, alone: bool = False
) -> None:
    """Draws a histogram and a line at its mean.

    Args:
        plot: where.
        histogram: its title becomes the label of its outline.
        look: of the page or of a paper.
        series: which number among the histograms, for its colour and dash.
        alone: no other stands in this plot, so that no dash has to set it apart.
    """
    colour, dash = plots.colour(series), "-" if alone else plots.dash(series)
    percent, edges, fill = histogram.percent, histogram.edges, look.fill
    plot.stairs(percent, edges, fill=True, color=colour, alpha=fill, linewidth=0)
    width, title = look.outline, histogram.title
    plot.stairs(percent, edges, color=colour, linestyle=dash, linewidth=width, label=title)
    mean = palette.light("ink") if alone else colour
    plot.axvline(histogram.mean, color=mean, linestyle=dash, linewidth=look.mean)
    plot.set_ylim(bottom=0)


def trim(plot: Axes, drawn: Sequence[Histogram]) -> None:
    """Leaves out empty bins at both ends, so that narrow histograms can be seen."""
    edges = drawn[0].edges
    filled = np.flatnonzero(np.sum([one.percent for one in drawn], axis=0) > 0.01)
    plot.set_xlim(float(edges[filled[0]]), float(edges[filled[-1] + 1]))


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page's section, of the first split whose learners were compared."""
    for split, result in results.items():
        shown = list(histograms(result.get("cosine", {})).values())
        if shown:
            words = (
                "Each learner's vector against another learner's. Apart on the same image: the "
                "learners see different things. Positive pairs right of negative ones: they still "
                "agree on classes."
            )
            card = html.card(f"{split.capitalize()} classes", words, _stacked(shown))
            return html.section("cosines", "How much the learners agree", card)
    return ""


@matplotlib.rc_context(plots.PAGE.rc)
def _stacked(shown: Sequence[Histogram]) -> str:
    """One histogram above the other on one axis, as SVG."""
    figure, axes = plots.axes(plots.PAGE, 11.0, 1.35 * len(shown) + 0.5, len(shown))
    for series, (plot, one) in enumerate(zip(axes, shown, strict=True)):
        draw(plot, one, plots.PAGE, series, alone=True)
        words = f"{one.title}: mean {one.mean:.3f}, std {one.std:.3f}"
        plot.set_title(words, loc="left", fontsize=9, color=palette.light("ink"))
        plot.yaxis.set_major_locator(MaxNLocator(3))
    trim(axes[-1], shown)
    axes[-1].set_xlabel("cosine between two different learners", color=palette.light("soft"))
    figure.supylabel("% of pairs", color=palette.light("soft"), fontsize=8.5)
    return svg.inline(figure, "Histograms of the cosine between learners")
