"""The report's first figures: what was trained, its Recall@1 beside the floor, the tables."""

from collections.abc import Mapping
from typing import Any

from abe_jax.report import html, tables

KINDS = {"single": "Single head", "heads": "{m}-heads", "attention": "ABE-{m}"}


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
    ]
    return " · ".join(part for part in parts if part)


def header(config: Mapping[str, Any], result: Mapping[str, Any], split: str) -> str:
    """The page's top: what was trained, and Recall@1 beside its floor."""
    metrics = result.get("metrics", {})
    ours = metrics.get("ensemble", {}).get("recall@1")
    floor = metrics.get("pixels", {}).get("recall@1")
    ratio = tables.error_ratio(result)
    many = len(metrics.get("learners", [])) > 1
    named = "Recall@1 of the ensemble" if many else "Recall@1"
    never = "images of training classes, kept out of training"
    where = never if split == "held" else f"{split} classes, which training never saw"
    boxes = [
        _big(named, ours, "%", where, "ours"),
        _big("Recall@1 of raw pixels", floor, "%", "the floor: no training at all"),
    ]
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


def _big(title: str, value: float | None, unit: str, words: str, kind: str = "") -> str:
    if value is None:
        return ""
    return _box(title, tables.figure("recall@1", value), unit, words, kind)


def _box(title: str, value: str, unit: str, words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    unit = f"<small>{html.text(unit)}</small>" if unit else ""
    return (
        f"<div><dt>{html.text(title)}</dt><dd{named}>{html.text(value)}{unit}</dd>"
        f'<dd class="about">{html.text(words)}</dd></div>'
    )


def evaluation(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of every split that was evaluated, in the order given."""
    parts = [_table(result, split) for split, result in results.items() if tables.columns(result)]
    words = (
        "Each image in turn is the query, all others are the gallery. R@K: share of queries with "
        "one of their class among the K nearest. R-prec and MAP@R look at the R nearest, R being "
        "how many of the query's class there are. Raw pixels are compared by the cosine of "
        "images, each less its own mean."
    )
    if any("gallery" in result for result in results.values()):
        words += (
            " Where images in the gallery are counted, the others are the queries and ask it alone."
        )
    if any("binary" in result.get("metrics", {}) for result in results.values()):
        words += (
            " Binary codes keep of each number whether it is above 0 and are compared by how many "
            "bits differ."
        )
    return html.section("evaluation", "Evaluation", html.note(words), *parts) if parts else ""


def _table(result: Mapping[str, Any], split: str) -> str:
    names = tables.columns(result)
    heads = [tables.heading(result, split), "", *(tables.title(metric) for metric in names)]
    lines = []
    under = ""
    for line in tables.rows(result):
        if line.under != under:
            under = line.under
            words = html.text(under[0].upper() + under[1:])
            lines.append(f'<tr><th scope="rowgroup" colspan="{len(names) + 2}">{words}</th></tr>')
        lines.append(_line(line.name, line.values, names, line.part, bar=True))
        if line.spread:
            lines.append(_line("learners, std", line.spread, names, "spread", bar=False))
    return html.table(lines, heads=heads, kind="values")


def _line(name: str, values: tables.Values, metrics: list[str], kind: str, *, bar: bool) -> str:
    """A row of figures, with Recall@1 drawn as a bar before them."""
    first = values.get("recall@1")
    drawn = bar and tables.figure("recall@1", first) != tables.ABSENT
    width = f'<i style="--v:{100 * (first or 0):.1f}%"></i>' if drawn else ""
    cells = [f'<td class="bar" aria-hidden="true">{width}</td>']
    cells += [f"<td>{tables.figure(metric, values.get(metric))}</td>" for metric in metrics]
    return html.row(cells, head=f'<th scope="row">{html.text(name)}</th>', kind=kind)
