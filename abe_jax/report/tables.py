"""An evaluation as rows of numbers, and rows as aligned text or Markdown."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from abe_jax.report import across_cameras, grains

ABSENT = "-"  # what a cell shows where nothing was measured
LAST = "the last, chosen by nothing"  # of a checkpoint: no class was kept for validation
ENSEMBLE = "ensemble, concatenation"
MEAN_DISTANCE = "ensemble, mean distance"
EMBEDDING = "embedding"
BINARY = {True: "ensemble, binary codes", False: "embedding, binary codes"}  # by many learners
OTHER_FAMILY = "neighbours of the query's own family left out"
OF_DOMAIN = "each domain by itself (queries)"
WHITENED = {True: "ensemble, whitened", False: "embedding, whitened"}
PIXELS = "raw pixels, no training"

Values = Mapping[str, float | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row of the evaluation table; `spread` is the standard deviation beside `values`."""

    name: str
    part: str  # ensemble | learner | mean | baseline
    values: Values
    spread: Values | None = None
    under: str = ""  # the line that the row stands under, with others of the same


def columns(result: Mapping[str, Any]) -> list[str]:
    """Metric names in printing order: MAP@R, Recall@K by rising K, R-precision.

    MAP@R leads: of photographs Recall@1 is high wherever frames of one scene find each other.
    """
    names = set().union(*(row.values for row in rows(result)))
    recalls = sorted((n for n in names if n.startswith("recall@")), key=lambda n: int(n[7:]))
    return [name for name in ("map@r", *recalls, "r_precision") if name in names]


def title(metric: str) -> str:
    """The metric's column title, with its unit: Recall@K and top-1 in percent, others in 0..1."""
    if metric.startswith("recall@"):
        return f"R@{metric[7:]} %"
    return {"r_precision": "R-prec", "map@r": "MAP@R", "top-1": "top-1 %"}[metric]


def printed(metric: str, value: float | None) -> str:
    """The printed value: percent with one decimal for Recall@K and top-1, else three decimals."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{100 * value:.1f}" if metric.startswith(("recall@", "top-")) else f"{value:.3f}"


def rows(result: Mapping[str, Any]) -> list[TableRow]:
    """The rows of one split's evaluation, `evaluation.json[split]`; what is missing is left out.

    Where there is but one learner it is the embedding, so its repetitions are left out.
    """
    metrics = result.get("metrics", {})
    learners = metrics.get("learners", [])
    many = len(learners) > 1
    named = ENSEMBLE if many else EMBEDDING

    def row(name: str, part: str, key: str) -> TableRow:
        return TableRow(name=name, part=part, values=metrics.get(key, {}))

    listed = [row(named, "ensemble", "ensemble")]
    if many:
        listed.append(row(MEAN_DISTANCE, "ensemble", "ensemble_mean_distance"))
    listed.append(row(BINARY[many], "ensemble", "binary"))
    if many:
        for i, values in enumerate(learners, start=1):
            listed.append(TableRow(name=f"learner {i}", part="learner", values=values))
        mean = row("learners, mean", "mean", "learners_mean")
        listed.append(dataclasses.replace(mean, spread=metrics.get("learners_std", {})))
    listed.append(row(WHITENED[many], "ensemble", "whitened"))
    listed.append(row(PIXELS, "baseline", "pixels"))
    listed += _without_near(result.get("without_near_duplicates"), named, many)
    listed += _both(result.get("other_family", {}), named, OTHER_FAMILY)
    listed += _of_domains(result.get("domains", {}), named)
    return [row for row in listed if row.values]


def _both(values: Mapping[str, Any], named: str, under: str) -> list[TableRow]:
    """The embedding and its baseline, under a line of their own."""
    parts = ((named, "ensemble", "ensemble"), (PIXELS, "baseline", "pixels"))
    return [
        TableRow(name=name, part=part, values=values.get(key, {}), under=under)
        for name, part, key in parts
    ]


def _without_near(without: Mapping[str, Any] | None, named: str, many: bool) -> list[TableRow]:
    """What is found without each query's own capture: the embedding, the learners, the baseline."""
    if without is None:
        return []
    under = (
        f"near-duplicates left out ({without['rule']}: {without['images_in_groups']:,} in "
        f"{without['groups']:,} captures), {without['queries']:,} queries"
    )
    metrics = without["metrics"] or {"ensemble": {"map@r": None}}  # no query is left
    embedding, *rest = _both(metrics, named, under)
    mean = TableRow(
        name="learners, mean", part="mean", values=metrics.get("learners_mean", {}), under=under
    )
    return [embedding, *([mean] if many else []), *rest]


def _of_domains(domains: Mapping[str, Any], named: str) -> list[TableRow]:
    """The mean over domains, the baseline's, and each domain's embedding."""
    each, mean, without = (domains.get(key, {}) for key in ("each", "mean", "left_out"))
    under = f"each domain by itself, mean of {len(each)}"
    if without:
        under += f" (without a query that has a positive: {', '.join(without)})"
    return _both(mean, named, under) + [
        TableRow(
            name=f"{name} ({one['queries']:,})",
            part="learner",
            values=one["ensemble"],
            under=OF_DOMAIN,
        )
        for name, one in each.items()
    ]


def heading(result: Mapping[str, Any], split: str) -> str:
    """What was evaluated: split, images, classes and the checkpoint's step, as far as known.

    Where queries asked a gallery, also how many had a positive in it, and how many images it has.
    """
    known = ("images", "classes", *(("queries",) if "gallery" in result else ()))
    sizes = [f"{result[name]:,} {name}" for name in known if result.get(name) is not None]
    if "gallery" in result:
        sizes.append(f"{result['gallery']:,} in the gallery")
    parts = [split, ", ".join(sizes)]
    if result.get("step") is not None:
        chosen = f", {result['checkpoint']}" if result.get("checkpoint") else ""
        parts.append(f"step {result['step']:,}{chosen}")
    return " · ".join(part for part in parts if part)


def evaluation_table(result: Mapping[str, Any], *, split: str) -> str:
    """One split's evaluation as aligned plain text, lines without trailing blanks.

    Recall@K is in percent, MAP@R and R-precision are in 0..1; the standard deviation over learners
    has a row of its own. The three grains, where they were measured, stand under all else.

    Args:
        result: the value under `split` in evaluation.json.
        split: its name, for the heading.
    """
    names = columns(result)
    if not names:
        measured = [*across_cameras.lines(result), *grains.lines(result)]
        measured = measured or ["(nothing was measured)"]
        return "\n".join([heading(result, split), *measured])
    table: list[list[str]] = [["", *(title(name) for name in names)]]
    under = ""
    for row in rows(result):
        if row.under != under:
            under = row.under
            table.append([f"{under}:"])
        indent = "  " if row.under else ""
        table.append([indent + row.name, *(printed(n, row.values.get(n)) for n in names)])
        if row.spread:
            spread = (printed(n, row.spread.get(n)) for n in names)
            table.append(["learners, std", *spread])
    rest = [*across_cameras.lines(result), *grains.lines(result)]
    return "\n".join([heading(result, split), *_aligned(table), *rest])


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """First column to the left, all others to the right; a line of one cell runs across."""
    full = [line for line in table if len(line) > 1]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    lines = []
    for line in table:
        first = line[0].ljust(widths[0]) if len(line) > 1 else line[0]
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=False))
        lines.append("  ".join([first, *rest]).rstrip())
    return lines


def markdown(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """A Markdown table, aligned in its source too: first column left, the others right.

    Raises:
        ValueError: a row has not as many cells as the header.
    """
    lines = [[_cell(value) for value in line] for line in (header, *rows)]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"every row needs {len(header)} cells, as the header has")
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]

    def drawn(line: Sequence[str]) -> str:
        first = line[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([drawn(lines[0]), rule, *(drawn(line) for line in lines[1:])])


def _cell(value: object) -> str:
    text = ABSENT if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def error_ratio(result: Mapping[str, Any]) -> float | None:
    """(1 - R@1 of the ensemble) / (1 - R@1 of raw pixels); None where it is not defined."""
    metrics = result.get("metrics", {})
    ours = metrics.get("ensemble", {}).get("recall@1")
    baseline = metrics.get("pixels", {}).get("recall@1")
    if ours is None or baseline is None or not baseline < 1 or not math.isfinite(ours):
        return None
    return (1 - ours) / (1 - baseline)
