"""The page's tables of an evaluation, a bar for the first metric before each row's numbers."""

from collections.abc import Mapping
from typing import Any

from abe_jax.report import html, tables


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page's section: a table of each split that was evaluated, in the order given."""
    parts = [_table(result, split) for split, result in results.items() if tables.columns(result)]
    words = (
        "Each image in turn is the query, all others are the gallery. MAP@R and R-prec look at the "
        "R nearest, R being how many of the query's class there are. R@K: share of queries with "
        "one of their class among the K nearest. Raw pixels are compared by the cosine of images, "
        "each less its own mean."
    )
    if any("gallery" in result for result in results.values()):
        words += " Where images in the gallery are counted, the others are the queries."
    if any("binary" in result.get("metrics", {}) for result in results.values()):
        words += (
            " Binary codes keep of each number whether it is above 0 and are compared by how many "
            "bits differ."
        )
    if any("without_near_duplicates" in result for result in results.values()):
        words += (
            " Where near-duplicates are left out, no image of the query's own capture counts, "
            "neither as a neighbour nor as one of its class; a query of which no other image of "
            "its class is left is in no mean."
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
    """A row of numbers, the first of them drawn as a bar before them."""
    first = values.get(metrics[0])
    drawn = bar and tables.printed(metrics[0], first) != tables.ABSENT
    width = f'<i style="--v:{100 * (first or 0):.1f}%"></i>' if drawn else ""
    cells = [f'<td class="bar" aria-hidden="true">{width}</td>']
    cells += [f"<td>{tables.printed(metric, values.get(metric))}</td>" for metric in metrics]
    return html.row(cells, head=f'<th scope="row">{html.text(name)}</th>', kind=kind)
