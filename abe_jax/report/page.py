"""The report of a run: one HTML file that needs nothing but itself."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abe_jax.report import curves, figures, grains, history, html, pictures, style
from abe_jax.report.examples import Attention, Gallery


def write(
    path: Path,
    *,
    config: Mapping[str, Any],
    metrics: Path,
    evaluation: Mapping[str, Mapping[str, Any]],
    gallery: Gallery | None = None,
    attention: Attention | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Writes a run's report, whole or not at all; equal inputs give equal bytes.

    What is missing (a file, a metric, masks of a model without any) is left out of the page.

    Args:
        path: where report.html goes.
        config: as in config.json.
        metrics: the run's metrics.csv, which may be missing or empty.
        evaluation: as in evaluation.json, by split; the headline is of "test" where it is there.
        gallery: queries and neighbours to show, from `report.gallery`.
        attention: images and masks to show; None where the model has no masks.
        environment: what else is needed to repeat the run, by name ("command", "jax", "device").
    """
    content = page(
        config=config,
        past=history.read(metrics),
        evaluation=evaluation,
        gallery=gallery,
        attention=attention,
        environment=environment or {},
    )
    _replace(path, content.encode())


def page(
    *,
    config: Mapping[str, Any],
    past: history.History,
    evaluation: Mapping[str, Mapping[str, Any]],
    gallery: Gallery | None,
    attention: Attention | None,
    environment: Mapping[str, str],
) -> str:
    """The report as HTML text."""
    splits = sorted(evaluation, key=lambda split: (split != "test", split))
    results = {split: evaluation[split] for split in splits}
    first = next(iter(results), "test")
    return html.document(
        figures.name(config),
        style.css(),
        figures.header(config, results.get(first, {}), first),
        [
            figures.evaluation(results),
            grains.section(results),
            curves.curves(config, past, results),
            pictures.retrieval(gallery),
            pictures.attention(attention),
            curves.cosines(results),
            reproduce(config, environment),
        ],
        "Written by abe_jax. This page is one file and loads nothing.",
    )


def reproduce(config: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The section that says how to get these figures again."""
    facts = dict(environment)
    command = facts.pop("command", "")
    listed = "".join(
        f"<dt>{html.text(key)}</dt><dd>{html.text(value)}</dd>" for key, value in facts.items()
    )
    whole = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    return html.section(
        "reproduce",
        "How to get this again",
        f"<pre><code>{html.text(command)}</code></pre>" if command else "",
        f'<dl class="facts">{listed}</dl>' if listed else "",
        f"<details><summary>The whole configuration</summary><pre><code>{html.text(whole)}"
        "</code></pre></details>",
    )


def _replace(path: Path, content: bytes) -> None:
    """Writes beside the file and moves it there, so that a reader never sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
