"""The page of a run: one HTML file that needs nothing but itself."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abe_jax import files
from abe_jax.evaluation.examples import Attention, Gallery
from abe_jax.report import (
    across_cameras,
    cosines,
    curves,
    grains,
    headline,
    history,
    html,
    pictures,
    result_tables,
    style,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the page of a run shows; what is missing is left out of it."""

    config: Mapping[str, Any]  # as in config.json
    metrics: Path  # the run's metrics.csv, which may be missing or empty
    evaluation: Mapping[str, Mapping[str, Any]]  # as in evaluation.json, by split
    gallery: Gallery | None = None
    attention: Attention | None = None  # None where the model has no masks
    # What else is needed to repeat the run, by name ("command", "jax", "device").
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write(path: Path, report: Report) -> None:
    """Writes a run's page, whole or not at all; equal reports give equal bytes."""
    files.write(path, page(report))


def page(report: Report) -> str:
    """A run's page as HTML; its headline is of the split "test" where that was evaluated."""
    splits = sorted(report.evaluation, key=lambda split: (split != "test", split))
    results = {split: report.evaluation[split] for split in splits}
    # A summary over divisions has no Recall@K.
    with_metrics = (split for split in splits if results[split].get("metrics"))
    first = next(with_metrics, next(iter(results), "test"))
    return html.document(
        headline.name(report.config),
        style.css(),
        headline.header(report.config, results.get(first, {}), first),
        [
            result_tables.section(results),
            across_cameras.section(results),
            grains.section(results),
            curves.section(report.config, history.read(report.metrics), results),
            pictures.retrieval(report.gallery),
            pictures.attention(report.attention),
            cosines.section(results),
            reproduce(report.config, report.environment),
        ],
    )


def reproduce(config: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The section that says how to get these results again."""
    facts = dict(environment)
    command = facts.pop("command", "")
    listed = "".join(
        f"<dt>{html.text(key)}</dt><dd>{html.text(value)}</dd>" for key, value in facts.items()
    )
    text = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    return html.section(
        "reproduce",
        "How to get this again",
        f"<pre><code>{html.text(command)}</code></pre>" if command else "",
        f'<dl class="facts">{listed}</dl>' if listed else "",
        f"<details><summary>The whole configuration</summary><pre><code>{html.text(text)}"
        "</code></pre></details>",
    )
