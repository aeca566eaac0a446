"""Tables of figures, and the file that keeps them beside what they were measured on."""

import dataclasses
import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jax

SECTION = "\n## "
SIZES = {False: "Small sizes", True: "The paper's sizes"}  # by --full


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Figures of one benchmark: a title, what one must know to read them, and rows of cells."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [max(3, *map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        rule = ["-" * (width - 1) + ":" for width in widths]
        lines = [
            "| " + " | ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True)) + " |"
            for cells in (self.head, rule, *self.rows)
        ]
        return "\n".join([f"### {self.title}", "", self.note, "", *lines])


def number(value: float) -> str:
    """Three significant digits, and whole numbers from 1000 on."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def times_of(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Our time over theirs of the same round: the median of all rounds, the least and the most."""
    ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def machine() -> str:
    """Date, device, cores and versions, as one line."""
    devices = jax.devices()
    kind, platform_name = devices[0].device_kind, devices[0].platform
    device = kind if kind == platform_name else f"{kind} ({platform_name})"
    versions = [f"{name} {metadata.version(name)}" for name in ("jax", "jaxlib", "flax")]
    facts = [
        datetime.date.today().isoformat(),
        f"{len(devices)} x {device}",
        f"{os.cpu_count()} CPU cores",
        f"Python {platform.python_version()}",
        *versions,
    ]
    return ", ".join(facts)


def section(tables: Sequence[Table], *, heading: str, facts: str) -> str:
    """What one run writes: its heading, what it was measured on, and its tables."""
    return "\n\n".join([f"## {heading}", facts, *map(str, tables)]) + "\n"


def replaced(text: str, new: str) -> str:
    """`text` with the section of `new`'s heading replaced by `new`, or `new` added at the end."""
    opening, *sections = ("\n" + text).split(SECTION)
    heading = new.removeprefix(SECTION[1:]).splitlines()[0]
    kept = [part.strip() for part in sections]
    body = new.removeprefix(SECTION[1:]).strip()
    positions = [i for i, part in enumerate(kept) if part.splitlines()[0] == heading]
    if positions:
        kept[positions[0]] = body
    else:
        kept.append(body)
    return "\n\n".join([opening.strip(), *(f"## {part}" for part in kept)]).strip() + "\n"


def write(path: Path, tables: Sequence[Table], *, heading: str, facts: str) -> None:
    """Puts the tables into the file's section of this heading; all others stay."""
    text = path.read_text() if path.exists() else "# Benchmark results\n"
    path.write_text(replaced(text, section(tables, heading=heading, facts=facts)))
