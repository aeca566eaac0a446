"""The three grains of an evaluation as rows of text and of the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from abe_jax.report import html

TITLE = "three grains"
PIXELS = "  raw pixels, no training"
WHITENED = "  whitened"


def cells(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows (grain, number, number, measured on what) of evaluation.json[split]["grains"]."""
    grains = result.get("grains", {})
    rows, baseline, whitened = [], grains.get("pixels", {}), grains.get("whitened", {})
    if own := grains.get("class"):
        fifth = f"top-5 {100 * own['top-5']:.1f} %" if "top-5" in own else ""
        words = f"{own['images']:,} held-out images, {own['classes']:,} classes"
        rows.append(("class", f"top-1 {100 * own['top-1']:.1f} %", fifth, words))
    if own := grains.get("instance"):
        words = f"{own['queries']:,} objects among {own['images']:,} images"
        if "gallery" in own:
            words = f"{own['queries']:,} queries, {own['gallery']:,} images in the gallery"
        rows.append(("instance", *_instances(own), words))
        rows += [(WHITENED, *_instances(of), "") for of in [whitened.get("instance")] if of]
        rows += [(PIXELS, *_instances(of), "") for of in [baseline.get("instance")] if of]
    if own := grains.get("copy"):
        words = f"{own['queries']:,} copies, {own['gallery']:,} images"
        rows.append(("copy", *_copies(own), words))
        rows += [(WHITENED, *_copies(of), "") for of in [whitened.get("copy")] if of]
        rows += [(PIXELS, *_copies(of), "") for of in [baseline.get("copy")] if of]
        rows += [(f"  {name}", *_copies(of), "") for name, of in own["attacks"].items()]
    return rows


def _instances(values: Mapping[str, float]) -> tuple[str, str]:
    score = "ukbench" in values and (
        f"UKBench {values['ukbench']:.2f} of {values['ukbench_most']:.2f}"
    )
    return f"mAP {values['map']:.3f}", score or ""


def _copies(values: Mapping[str, float]) -> tuple[str, str]:
    return f"mAP {values['map']:.3f}", f"R@1 {100 * values['recall@1']:.1f} %"


def lines(result: Mapping[str, Any]) -> list[str]:
    """The rows as aligned text under a line of their own; none where no grain was measured."""
    rows = cells(result)
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    aligned = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return [f"{TITLE}:", *(f"  {line}".rstrip() for line in aligned)]


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page's section: a table for each split whose grains were measured."""
    parts = [_table(split, cells(result)) for split, result in results.items() if cells(result)]
    words = (
        "One embedding at three grains (MultiGrain). Class: the classifier on images of training "
        "classes that were held out. Instance: other images of the same object, by Holidays' mAP "
        "and UKBench's score. Copy: altered copies look for their original in the whole split. "
        "Raw pixels are compared as in the evaluation."
    )
    return html.section("grains", "Three grains", html.note(words), *parts) if parts else ""


def _table(split: str, rows: Sequence[tuple[str, str, str, str]]) -> str:
    body = [
        html.row(
            [f"<td>{html.text(cell)}</td>" for cell in rest],
            head=f'<th scope="row">{html.text(name.strip())}</th>',
            kind="learner" if name.startswith(" ") else "ensemble",
        )
        for name, *rest in rows
    ]
    return html.table(body, heads=[split, "", "", "measured on"], kind="values")
