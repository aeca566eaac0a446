"""Figures of re-identification as rows of text and of the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from abe_jax.report import html

NAMES = {  # of a part of `evaluation.json[split]["reidentification"]["metrics"]`
    "ensemble": ("embedding", "ensemble, concatenation"),
    "learners_mean": ("", "learners, mean"),
    "whitened": ("embedding, whitened", "ensemble, whitened"),
    "pixels": ("raw pixels, no training", "raw pixels, no training"),
}


def cells(result: Mapping[str, Any]) -> list[list[str]]:
    """A row of column titles and one for each ranking; none where nothing was measured.

    CMC is in percent, mAP and mINP are in 0..1. Over several divisions each cell is mean and
    standard deviation.
    """
    found = result.get("reidentification", {})
    metrics, spread = found.get("metrics", {}), found.get("std", {})
    if not metrics:
        return []
    columns = list(metrics["ensemble"])
    several = "learners_mean" in metrics
    rows = [["", *map(_title, columns)]]
    for part, names in NAMES.items():
        values, off = metrics.get(part), spread.get(part, {})
        if values and names[several]:
            shown = (_printed(name, values[name], off.get(name)) for name in columns)
            rows.append([names[several], *shown])
    return rows


def heading(result: Mapping[str, Any]) -> str:
    """What the figures are of."""
    found = result["reidentification"]
    divisions = f", mean ± std of {_measured(found)} divisions" if "divisions" in found else ""
    return (
        f"across cameras (re-identification), {found['queries']:,} queries, "
        f"{found['gallery']:,} in the gallery{divisions}"
    )


def _measured(found: Mapping[str, Any]) -> str:
    """Of how many divisions the figures are; those of which nothing can be measured are told."""
    of = found["divisions"]
    measured = found.get("measured", of)  # evaluations of older versions lack it
    return f"{of}" if measured == of else f"the {measured} with figures of {of}"


def _title(name: str) -> str:
    return {"map": "mAP", "minp": "mINP"}.get(name, f"{name} %")


def _printed(name: str, value: float, off: float | None) -> str:
    factor, digits = (1, 3) if name in ("map", "minp") else (100, 1)
    words = f"{factor * value:.{digits}f}"
    return words if off is None else f"{words} ± {factor * off:.{digits}f}"


def lines(result: Mapping[str, Any]) -> list[str]:
    """The rows as aligned text under a line of their own."""
    if "reidentification" not in result:
        return []
    rows = cells(result)
    if not rows:
        return [f"{heading(result)}: no query has an image of its person under another camera"]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    made = [f"{heading(result)}:"]
    for first, *rest in rows:
        numbers = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        made.append("  ".join(["  " + first.ljust(widths[0]), *numbers]).rstrip())
    return made


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page's section: a table for each split whose images have cameras and a gallery."""
    parts = [_table(split, result) for split, result in results.items() if cells(result)]
    words = (
        "Each image of the query side looks for its person under other cameras: images of the same "
        "person under the query's own camera are left out of its gallery. rank-K: share of queries "
        "with their person among the K nearest. mAP: mean over queries of the mean precision at "
        "each right image. mINP: of how many are right over the place of the last of them."
    )
    return html.section("cameras", "Across cameras", html.note(words), *parts) if parts else ""


def _table(split: str, result: Mapping[str, Any]) -> str:
    titles, *rows = cells(result)
    body = [_row(row) for row in rows]
    heads = [f"{split} · {heading(result)}", *titles[1:]]
    return html.table(body, heads=heads, kind="values")


def _row(row: Sequence[str]) -> str:
    drawn = [f"<td>{html.text(cell)}</td>" for cell in row[1:]]
    kind = "baseline" if row[0] == NAMES["pixels"][0] else "ensemble"
    return html.row(drawn, head=f'<th scope="row">{html.text(row[0])}</th>', kind=kind)
