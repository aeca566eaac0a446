"""The page's learning curves: what metrics.csv holds, over the steps."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from abe_jax.report import history, html, palette, plots, svg

POINTS = 400  # at most so many of a line
SMOOTH_FROM = 40  # a line of so many points gets its moving mean


def section(
    config: Mapping[str, Any], past: history.History, results: Mapping[str, Mapping[str, Any]]
) -> str:
    """The page's section: each plot whose columns were measured."""
    if len(past.get("step", ())) == 0:
        return html.section("curves", "Learning curves", html.note("No step was logged."))
    cards = [_loss(config, past), _validation(config, past, results)]
    cards += [_distances(config, past), _cosine(past)]
    inside = "\n".join(part for part in cards if part)
    words = (
        "Measured on training batches, and on validation classes where said. A long curve is "
        "drawn faint, with its moving mean over it."
    )
    plotted = f'<div class="plots">{inside}</div>' if inside else ""
    return html.section("curves", "Learning curves", html.note(words), plotted)


def _loss(config: Mapping[str, Any], past: history.History) -> str:
    terms = {t["name"]: t for t in config.get("objective", []) if "name" in t}
    shown = {"loss": "total"} if len(terms) != 1 or "loss" not in past else {}
    shown |= {key: f"{key} (weight {t.get('weight', 1):g})" for key, t in terms.items()}
    words = "The total is the weighted sum; the terms are drawn without their weights."
    drawn = _drawn(past, shown, "Loss and its terms over the steps")
    return html.card("Loss", words, drawn)


def _distances(config: Mapping[str, Any], past: history.History) -> str:
    terms = [t for t in config.get("objective", []) if t.get("name") == "contrastive"]
    squared = any(t.get("squared", True) for t in terms)
    drawn = _drawn(
        past,
        {"positive_distance": "positive pairs", "negative_distance": "negative pairs"},
        "Mean distance of positive and of negative pairs over the steps",
        lines={f"margin {t['margin']:g}": float(t["margin"]) for t in terms if "margin" in t},
    )
    words = f"Mean {'squared ' if squared else ''}distance within a batch, as the loss sees it."
    return html.card("Distances of pairs", words, drawn)


def _cosine(past: history.History) -> str:
    words = "Between different learners, on the same image. Toward 1 the learners collapse to one."
    drawn = _drawn(
        past,
        {"cosine": "mean cosine"},
        "Mean cosine between the learners on the same image over the steps",
        lines={"collapse": 1.0},
    )
    return html.card("Cosine between learners", words, drawn)


def _validation(
    config: Mapping[str, Any], past: history.History, results: Mapping[str, Mapping[str, Any]]
) -> str:
    baseline = results.get("val", {}).get("metrics", {}).get("pixels", {}).get("recall@1")
    step = next((r["step"] for r in results.values() if r.get("step") is not None), None)
    if step is None:
        selected = config.get("evaluate", {}).get("select", "recall@1")
        steps, values = history.measured(past, f"val_{selected}")
        step = steps[np.argmax(values)] if len(steps) else None
    drawn = _drawn(
        past,
        {"val_recall@1": "R@1", "val_map@r": "MAP@R"},
        "Recall@1 and MAP@R on validation classes over the steps, in percent",
        lines={} if baseline is None else {"raw pixels, R@1": float(baseline)},
        marked=None if step is None else (float(step), f"best: step {step:,.0f}"),
        scale=100.0,
    )
    words = "Ensemble, in percent, on classes that are neither trained on nor tested on."
    return html.card("Validation", words, drawn)


def _drawn(
    past: history.History,
    columns: Mapping[str, str],
    described: str,
    *,
    lines: Mapping[str, float] | None = None,
    marked: tuple[float, str] | None = None,
    scale: float = 1.0,
) -> str:
    """Columns of metrics.csv over the steps, as SVG; empty where none of them was measured.

    Args:
        past: from `history.read`.
        columns: column -> its name in the legend.
        described: the plot in a sentence, as in `svg.inline`.
        lines: label -> height of a level line across the plot.
        marked: a step to mark and what to call it.
        scale: what the values are multiplied by, 100 for percent.
    """
    shown = {name: title for name, title in columns.items() if name in past}
    if not shown:
        return ""
    with matplotlib.rc_context(plots.PAGE.rc):
        figure, (plot,) = plots.axes(plots.PAGE, 5.4, 2.9)
        for series, (name, title) in enumerate(shown.items()):
            steps, values = history.thinned(*history.measured(past, name), POINTS)
            _line(plot, steps, values * scale, title, series)
        for label, level in (lines or {}).items():
            _level(plot, level * scale, label)
        if marked is not None:
            _mark(plot, *marked)
        plot.set_xlabel("step", color=palette.light("soft"))
        ink = palette.light("ink")
        figure.legend(loc="outside upper left", ncols=4, frameon=False, labelcolor=ink)
        return svg.inline(figure, described)


def _line(plot: Axes, steps: np.ndarray, values: np.ndarray, label: str, series: int) -> None:
    """One curve; a long one faint, with its moving mean over it."""
    if not len(steps):
        return
    colour, dash = plots.colour(series), plots.dash(series)
    if len(steps) >= SMOOTH_FROM:
        plot.plot(steps, values, color=colour, alpha=0.28, linewidth=0.8)
        values = history.smoothed(values, len(steps) // 40 * 2 + 1)
    marker = "o" if len(steps) < SMOOTH_FROM else ""
    plot.plot(steps, values, color=colour, linestyle=dash, marker=marker, ms=3, label=label)


def _level(plot: Axes, height: float, label: str) -> None:
    """A level line across the plot, named at its right end."""
    soft = palette.light("soft")
    plot.axhline(height, color=soft, linewidth=1, linestyle=(0, (2, 2)))
    plot.annotate(
        label,
        (1, height),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        color=soft,
        bbox={"facecolor": palette.light("card"), "edgecolor": "none", "pad": 0.8},
        zorder=5,
    )


def _mark(plot: Axes, step: float, label: str) -> None:
    """A line at a step, named above the plot on the side where there is room."""
    ink = palette.light("ink")
    plot.axvline(step, color=ink, linewidth=1)
    low, high = plot.get_xlim()
    late = step > (low + high) / 2
    plot.annotate(
        label,
        (step, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if late else 3, 2),
        textcoords="offset points",
        ha="right" if late else "left",
        color=ink,
    )
