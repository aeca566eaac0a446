"""Few segments, whatever is added and removed: small ones are merged, sparse ones written anew."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from abe_jax.index.manifest import Segment, Spec
from abe_jax.index.segments import Opened, Writer, opened

LARGE = 100_000  # rows from which on a segment is merged with no other: an add never copies more
BLOCK = 4096  # rows copied at once


def compacted(
    folder: Path,
    spec: Spec,
    segments: Sequence[Segment],
    removed: Int64[np.ndarray, " r"],
    name: str,
) -> tuple[tuple[Segment, ...], Int64[np.ndarray, " s"]]:
    """The segments of the next state, their new files called `name`, and the ids removed in them.

    A row is copied O(log n) times while n rows are added one by one, and O(log n) segments plus
    one for each LARGE rows are left; of a segment's rows at least half count.
    """
    parts = [opened(folder, spec, segment, removed) for segment in segments]
    kept: list[Segment] = []
    for group in groups(part for part in parts if part.count):
        if len(group) == 1 and 2 * group[0].count >= group[0].segment.count:
            kept.append(group[0].segment)
        else:
            kept.append(_merged(folder, f"{name}-{len(kept)}", spec, group))
    held = [part.ids for part in parts if part.segment in kept]
    left = np.intersect1d(removed, np.concatenate([np.zeros(0, np.int64), *held]))
    return tuple(kept), left


def groups(parts: Iterable[Opened]) -> list[list[Opened]]:
    """Neighbours that become one segment: none stands before one more than half its size."""
    found: list[list[Opened]] = []
    for part in parts:
        found.append([part])
        while len(found) > 1 and _joins(*map(_rows, found[-2:])):
            found[-2:] = [found[-2] + found[-1]]
    return found


def _joins(before: int, rows: int) -> bool:
    return rows < LARGE and before < min(2 * rows, LARGE)


def _rows(group: Sequence[Opened]) -> int:
    return sum(part.count for part in group)


def _merged(folder: Path, name: str, spec: Spec, group: Sequence[Opened]) -> Segment:
    """A new segment with the rows of several that count."""
    writer = Writer(folder, name, spec)
    try:
        for part in group:
            living = part.living()
            for start in range(0, len(living), BLOCK):
                at = living[start : start + BLOCK]
                writer.append(part.vectors[at], part.ids[at], list(part.lines(at)))
        return writer.done()
    finally:
        writer.close()
