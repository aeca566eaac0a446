"""The report's plots: learning curves, and histograms of the cosine between learners."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from abe_jax.report import history, html, plots

COSINES = {
    "same_image": "same image",
    "positive": "two images of one class",
    "negative": "images of two classes",
}


def curves(
    config: Mapping[str, Any], past: history.History, results: Mapping[str, Mapping[str, Any]]
) -> str:
    """The learning curves, each where its columns were measured."""
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
    drawn = plots.curves(past, shown, described="Loss and its terms over the steps")
    return html.card("Loss", words, drawn)


def _distances(config: Mapping[str, Any], past: history.History) -> str:
    terms = [t for t in config.get("objective", []) if t.get("name") == "contrastive"]
    squared = any(t.get("squared", True) for t in terms)
    drawn = plots.curves(
        past,
        {"positive_distance": "positive pairs", "negative_distance": "negative pairs"},
        described="Mean distance of positive and of negative pairs over the steps",
        lines={f"margin {t['margin']:g}": float(t["margin"]) for t in terms if "margin" in t},
    )
    words = f"Mean {'squared ' if squared else ''}distance within a batch, as the loss sees it."
    return html.card("Distances of pairs", words, drawn)


def _cosine(past: history.History) -> str:
    words = "Between different learners, on the same image. Toward 1 the learners collapse to one."
    drawn = plots.curves(
        past,
        {"cosine": "mean cosine"},
        described="Mean cosine between the learners on the same image over the steps",
        lines={"collapse": 1.0},
    )
    return html.card("Cosine between learners", words, drawn)


def _validation(
    config: Mapping[str, Any], past: history.History, results: Mapping[str, Mapping[str, Any]]
) -> str:
    floor = results.get("val", {}).get("metrics", {}).get("pixels", {}).get("recall@1")
    step = next((r["step"] for r in results.values() if r.get("step") is not None), None)
    if step is None:
        selected = config.get("evaluate", {}).get("select", "recall@1")
        steps, values = history.measured(past, f"val_{selected}")
        step = steps[np.argmax(values)] if len(steps) else None
    drawn = plots.curves(
        past,
        {"val_recall@1": "R@1", "val_map@r": "MAP@R"},
        described="Recall@1 and MAP@R on validation classes over the steps, in percent",
        lines={} if floor is None else {"raw pixels, R@1": float(floor)},
        marked=None if step is None else (float(step), f"best: step {step:,.0f}"),
        scale=100.0,
    )
    words = "Ensemble, in percent, on classes that are neither trained on nor tested on."
    return html.card("Validation", words, drawn)


def cosines(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The histograms of the cosine between learners, of the first split that has them."""
    for split, result in results.items():
        drawn = plots.histograms(
            result.get("cosine", {}), COSINES, described="Histograms of the cosine between learners"
        )
        if drawn:
            words = (
                "Each learner's vector against another learner's. Apart on the same image: the "
                "learners see different things. Positive pairs right of negative ones: they still "
                "agree on classes."
            )
            shown = html.card(f"{split.capitalize()} classes", words, drawn)
            return html.section("cosines", "How much the learners agree", shown)
    return ""
