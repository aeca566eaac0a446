"""The top of a run's page: what was trained, its MAP@R and Recall@1, and those of raw pixels."""

from collections.abc import Mapping
from typing import Any

from abe_jax.report import html, tables

KINDS = {
    "single": "Single head",
    "heads": "{m}-heads",
    "divided": "Embedding divided in {m}",
    "cascade": "Cascade of {m}",
    "attention": "ABE-{m}",
    "fashion_net": "FashionNet",
}


def name(config: Mapping[str, Any]) -> str:
    """What was trained on what, such as "ABE-4 on glyphs"."""
    model = config.get("model", {})
    kind = KINDS.get(model.get("kind", ""), "Embedding").format(m=model.get("learners", 1))
    data = config.get("data", {}).get("name")
    return f"{kind} on {data}" if data else kind


def summary(config: Mapping[str, Any]) -> str:
    """The experiment in one line, of what the configuration says."""
    model, train = config.get("model", {}), config.get("train", {})
    learners = model.get("learners")
    parts = [
        learners and f"{learners} learner{'s' if learners > 1 else ''}",
        model.get("dim") and f"{model['dim']} dimensions in all",
        model.get("backbone")
        and f"{model['backbone']}, shared up to {model.get('branch', 'its end')}",
        train.get("steps") and f"{train['steps']:,} steps of {train.get('batch', '?')} images",
        config.get("seed") is not None and f"seed {config['seed']}",
        not config.get("data", {}).get("validate", True)
        and "all classes but the test's trained on, the last checkpoint taken, chosen by nothing",
    ]
    return " · ".join(part for part in parts if part)


def header(config: Mapping[str, Any], result: Mapping[str, Any], split: str) -> str:
    """What was trained, and MAP@R and Recall@1, each beside its baseline."""
    metrics = result.get("metrics", {})
    ours, baseline = metrics.get("ensemble", {}), metrics.get("pixels", {})
    ratio = tables.error_ratio(result)
    many = len(metrics.get("learners", [])) > 1
    of = " of the ensemble" if many else ""
    never = "images of training classes, kept out of training"
    where = never if split == "held" else f"{split} classes, which training never saw"
    boxes = [
        box
        for metric, named in (("map@r", "MAP@R"), ("recall@1", "Recall@1"))
        for box in (
            _figure(named + of, metric, ours, where, "ours"),
            _figure(f"{named} of raw pixels", metric, baseline, "the baseline: no training at all"),
        )
    ]
    if not metrics:
        boxes += _across_cameras(result)
    if ratio is not None:
        words = "errors of the model for each error of raw pixels"
        boxes.append(_box("Error ratio", f"{ratio:.2f}", "", words))
    shown = "".join(box for box in boxes if box)
    beside = f'<dl class="figures">{shown}</dl>' if shown else html.note("Not yet evaluated.")
    return (
        f'<header class="top">\n<h1>{html.text(name(config))}</h1>\n'
        f'<p class="lead">{html.text(summary(config))}</p>\n'
        f"{beside}\n</header>"
    )


def _across_cameras(result: Mapping[str, Any]) -> list[str]:
    """Of an evaluation that has figures across cameras alone, such as of several divisions."""
    found = result.get("reidentification", {})
    ours = found.get("metrics", {}).get("ensemble")
    if not ours:
        return []
    of = f"the mean of {found['divisions']} divisions" if "divisions" in found else "all queries"
    return [
        _box("mAP across cameras", f"{ours['map']:.3f}", "", of, "ours"),
        _box("Rank-1 across cameras", f"{100 * ours['rank-1']:.1f}", "%", of, "ours"),
    ]


def _figure(title: str, metric: str, values: tables.Values, words: str, kind: str = "") -> str:
    value = values.get(metric)
    if value is None:
        return ""
    unit = "%" if metric.startswith("recall@") else ""
    return _box(title, tables.printed(metric, value), unit, words, kind)


def _box(title: str, value: str, unit: str, words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    unit = f"<small>{html.text(unit)}</small>" if unit else ""
    return (
        f"<div><dt>{html.text(title)}</dt><dd{named}>{html.text(value)}{unit}</dd>"
        f'<dd class="about">{html.text(words)}</dd></div>'
    )
