"""The page's tables of an evaluation, a bar for Recall@1 before each row's numbers."""

from collections.abc import Mapping
from typing import Any

from abe_jax.report import html, tables


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page's section: a table of each split that was evaluated, in the order given."""
    parts = [_table(result, split) for split, result in results.items() if tables.columns(result)]
    words = (
        "Each image in turn is the query, all others are the gallery. R@K: share of queries with "
        "one of their class among the K nearest. R-prec and MAP@R look at the R nearest, R being "
        "how many of the query's class there are. Raw pixels are compared by the cosine of "
        "images, each less its own mean."
    )
    if any("gallery" in result for result in results.values()):
        words += " Where images in the gallery are counted, the others are the queries."
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
    """A row of numbers, with Recall@1 drawn as a bar before them."""
    first = values.get("recall@1")
    drawn = bar and tables.printed("recall@1", first) != tables.ABSENT
    width = f'<i style="--v:{100 * (first or 0):.1f}%"></i>' if drawn else ""
    cells = [f'<td class="bar" aria-hidden="true">{width}</td>']
    cells += [f"<td>{tables.printed(metric, values.get(metric))}</td>" for metric in metrics]
    return html.row(cells, head=f'<th scope="row">{html.text(name)}</th>', kind=kind)
