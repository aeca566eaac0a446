"""Cost as one size of the work grows: sizes measured within a time, as a table and as a figure."""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib
from matplotlib.figure import Figure
from results import Table, number

from abe_jax.comparison import timing
from abe_jax.report import plots
from abe_jax.report.figures import layout


class Case(NamedTuple):
    """One size's work, ready to be done again and again."""

    call: Callable[[], Any]
    in_use: int | None = None  # bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """The same work at rising sizes."""

    name: str
    sizes: Sequence[int]
    # Makes the work of a size ready, and away again
    made: Callable[[int], contextlib.AbstractContextManager[Case]]
    order: float = 1.0  # the next size takes at most (next / this)^order times as long


class Point(NamedTuple):
    """What one size cost."""

    size: int
    seconds: list[float]
    in_use: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@contextlib.contextmanager
def compiled(function: Callable[..., Any], *arguments: Any) -> Iterator[Case]:
    """A function compiled for its arguments, with the memory that its results and sums need."""
    on_device = jax.device_put(arguments)
    program = jax.jit(function).lower(*on_device).compile()
    needs = program.memory_analysis()
    in_use = None if needs is None else needs.temp_size_in_bytes + needs.output_size_in_bytes
    yield Case(lambda: program(*on_device), in_use)


def measured(series: Series, rounds: int, budget: float) -> list[Point]:
    """The sizes in turn, until the next would probably take longer than `budget` seconds.

    Counted is all that a size takes, but for what is compiled only what the last size took.
    """
    points: list[Point] = []
    for size, following in zip(series.sizes, [*series.sizes[1:], None], strict=True):
        begun = time.perf_counter()
        with series.made(size) as case:
            start = time.perf_counter()
            jax.block_until_ready(case.call())
            first = time.perf_counter() - start
            seconds = timing.interleaved({series.name: case.call}, rounds)[series.name]
        points.append(Point(size, seconds, case.in_use))
        if following is None:
            break
        once = max(0.0, first - points[-1].median)  # a compilation in the first call
        grows = time.perf_counter() - begun - once
        if once + grows * (following / size) ** series.order > budget:
            break
    return points


def table(
    title: str, what: str, found: dict[str, list[Point]], note: str, most: dict[str, int]
) -> Table:
    """A line for each size of each series; `most`: the largest size there is of each."""
    rows = [row for name, points in found.items() for row in _rows(name, points)]
    left = [
        f"{name} from {points[-1].size:,} on"
        for name, points in found.items()
        if points[-1].size < most[name]
    ]
    stopped = f" Left out, since --budget ended: {'; '.join(left)}." if left else ""
    head = ("series", what, "ms", "least", "most", "grows as size^", "MiB")
    return Table(title=title, note=note + stopped, head=head, rows=rows)


def _rows(name: str, points: Sequence[Point]) -> Iterator[tuple[str, ...]]:
    before: Point | None = None
    for point in points:
        grows = "" if before is None else f"{_exponent(before, point):.2f}"
        ms = [number(1e3 * s) for s in (point.median, min(point.seconds), max(point.seconds))]
        in_use = "" if point.in_use is None else number(point.in_use / 2**20)
        yield (name, f"{point.size:,}", *ms, grows, in_use)
        before = point


def _exponent(one: Point, other: Point) -> float:
    """p where the time grows as size^p from one to the other."""
    return math.log(other.median / one.median) / math.log(other.size / one.size)


@matplotlib.rc_context(layout.RC)
def figure(what: str, found: dict[str, list[Point]], of_memory: str) -> Figure:
    """Time over size on logarithmic axes, from the least to the most; memory below, where known."""
    known = any(point.in_use is not None for points in found.values() for point in points)
    height = 2.2 + 1.6 * known + layout.LINE * len(found)
    drawn, parts = plots.axes(layout.PAPER, layout.COLUMN, height, rows=1 + known)
    for series, (name, points) in enumerate(found.items()):
        sizes, marks = [point.size for point in points], plots.marks(series)
        parts[0].plot(sizes, [1e3 * point.median for point in points], label=name, **marks)
        least, most = ([1e3 * f(point.seconds) for point in points] for f in (min, max))
        parts[0].fill_between(sizes, least, most, color=marks["color"], alpha=0.18, linewidth=0)
        in_use = [(point.size, point.in_use / 2**20) for point in points if point.in_use]
        if known and in_use:
            parts[1].plot(*zip(*in_use, strict=True), **marks)
    for part, said in zip(parts, ("ms", of_memory), strict=False):
        part.set(xscale="log", yscale="log", ylabel=said)
    parts[-1].set_xlabel(what)
    drawn.legend(loc="outside lower center", ncols=1, frameon=False)
    return drawn


def write(drawn: Figure, folder: Path | None, name: str) -> None:
    """The figure as PNG and PDF, where a folder was named."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        layout.write(drawn, folder, name)
