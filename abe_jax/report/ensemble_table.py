"""Ensembles beside their individual learners, as ABE-M's paper tables them: Recall@K of each.

Kim et al., ECCV 2018: the columns of the ensemble, then those of the individual learners, whose
mean is taken. Here over several seeds, as mean and sample standard deviation.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from abe_jax.report import tables

PARTS = {"ensemble": "ensemble", "learners_mean": "individual learners"}  # of evaluation.json


class Reached(NamedTuple):
    """A row of a comparison: its name, and what each of its seeds reached."""

    name: str
    evaluations: Sequence[Mapping[str, Any]]  # of one split, as evaluation.json has them
    kind: str = ""  # of model: single | heads | attention ...; empty: not known

    @property
    def learners(self) -> int:
        """How many there are, the most of any seed."""
        return max((len(e["metrics"].get("learners", ())) for e in self.evaluations), default=1)

    def values(self, part: str, metric: str) -> list[float]:
        """A metric of a part of `metrics`, in percent, of the seeds that have it."""
        found = [e["metrics"].get(part, {}).get(metric) for e in self.evaluations]
        return [100 * value for value in found if value is not None]


class Spread(NamedTuple):
    """A mean over seeds and their sample standard deviation, None of one seed alone."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of the values, one at least."""
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), std)


Line = tuple[str, int, dict[tuple[str, str], Spread]]  # name, seeds, by part and metric


def metrics(rows: Sequence[Reached]) -> list[str]:
    """Every Recall@K that any row has, by rising K."""
    names = {
        name for row in rows for e in row.evaluations for name in e["metrics"].get("ensemble", {})
    }
    return sorted((n for n in names if n.startswith("recall@")), key=lambda name: int(name[7:]))


def lines(rows: Sequence[Reached]) -> list[Line]:
    """The cells that there are; a row of one learner has none of individual learners."""
    made = []
    for row in rows:
        parts = list(PARTS) if row.learners > 1 else ["ensemble"]
        keys = [(part, metric) for part in parts for metric in metrics(rows)]
        values = {key: row.values(*key) for key in keys}
        cells = {key: Spread.of(found) for key, found in values.items() if found}
        made.append((row.name, len(row.evaluations), cells))
    return made


def _keys(rows: Sequence[Reached]) -> list[tuple[str, str]]:
    """The table's columns: those of a part that no row has are left out."""
    filled = set().union(*(cells for _, _, cells in lines(rows)))
    keys = [(part, metric) for part in PARTS for metric in metrics(rows)]
    return [key for key in keys if key in filled]


def markdown(rows: Sequence[Reached]) -> str:
    """The table in Markdown, Recall@K in percent as `mean ± standard deviation`."""
    keys = _keys(rows)
    header = ["", "seeds", *(f"{PARTS[part]} {tables.title(metric)}" for part, metric in keys)]
    body = [
        [name, seeds, *(_cell(cells.get(key)) for key in keys)]
        for name, seeds, cells in lines(rows)
    ]
    return tables.markdown(body, header)


def as_csv(rows: Sequence[Reached]) -> str:
    """The table as CSV: for each cell of the others a column of its mean and one of its spread."""
    keys, text = _keys(rows), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    named = [f"{part} {metric}" for part, metric in keys]
    writer.writerow(["name", "seeds", *(f"{n} {what}" for n in named for what in ("mean", "std"))])
    for name, seeds, cells in lines(rows):
        numbers = [value for key in keys for value in cells.get(key, (None, None))]
        writer.writerow([name, seeds, *("" if n is None else f"{n:.4f}" for n in numbers)])
    return text.getvalue()


def latex(rows: Sequence[Reached]) -> str:
    """The table as a LaTeX `tabular` that needs no package."""
    keys = _keys(rows)
    parts = [part for part in PARTS if any(key[0] == part for key in keys)]
    wide = {part: sum(key[0] == part for key in keys) for part in parts}
    groups = [rf"\multicolumn{{{wide[part]}}}{{c}}{{{PARTS[part]}}}" for part in parts]
    heads = [f"R@{metric[7:]}" for _, metric in keys]
    body = [
        [_escaped(name), *(_math(cells.get(key)) for key in keys)] for name, _, cells in lines(rows)
    ]
    drawn = [" & ".join(line) + r" \\" for line in [["", *groups], ["", *heads], *body]]
    columns = "l" + "r" * len(keys)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\hline",
            *drawn[:2],
            r"\hline",
            *drawn[2:],
            r"\hline",
            r"\end{tabular}",
            "",
        ]
    )


def _cell(value: Spread | None) -> str | None:
    if value is None:
        return None
    return f"{value.mean:.1f}" + ("" if value.std is None else f" ± {value.std:.1f}")


def _math(value: Spread | None) -> str:
    cell = _cell(value)
    return "--" if cell is None else "$" + cell.replace("±", r"\pm") + "$"


def _escaped(text: str) -> str:
    """Text as LaTeX sets it, whatever characters stand in it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in " ".join(text.split()))
