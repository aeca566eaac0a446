"""Few segments, whatever is added and removed: small ones are merged, sparse ones written anew."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from abe_jax.index.manifest import SegmentFiles, VectorSpec
from abe_jax.index.segments import Segment, SegmentWriter, open_segment

LARGE = 100_000  # rows from which on a segment is merged with no other: an add never copies more
BLOCK = 4096  # rows copied at once


def compacted(
    folder: Path,
    spec: VectorSpec,
    segments: Sequence[SegmentFiles],
    removed: Int64[np.ndarray, " r"],
    name: str,
) -> tuple[tuple[SegmentFiles, ...], Int64[np.ndarray, " s"]]:
    """The segments of the next state, their new files called `name`, and the ids removed in them.

    A row is copied O(log n) times while n rows are added one by one, and O(log n) segments plus
    one for each LARGE rows are left; at least half of a segment's rows are not removed.
    """
    opened = [open_segment(folder, spec, files, removed) for files in segments]
    kept: list[SegmentFiles] = []
    for group in groups(segment for segment in opened if segment.count):
        if len(group) == 1 and 2 * group[0].count >= group[0].size:
            kept.append(group[0].files)
        else:
            kept.append(_merged(folder, f"{name}-{len(kept)}", spec, group))
    unchanged = [segment.ids for segment in opened if segment.files in kept]
    left = np.intersect1d(removed, np.concatenate([np.zeros(0, np.int64), *unchanged]))
    return tuple(kept), left


def groups(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Neighbours that become one segment: none stands before one more than half its size."""
    merged: list[list[Segment]] = []
    for segment in segments:
        merged.append([segment])
        while len(merged) > 1 and _joins(*map(_rows, merged[-2:])):
            merged[-2:] = [merged[-2] + merged[-1]]
    return merged


def _joins(before: int, rows: int) -> bool:
    return rows < LARGE and before < min(2 * rows, LARGE)


def _rows(group: Sequence[Segment]) -> int:
    return sum(segment.count for segment in group)


def _merged(folder: Path, name: str, spec: VectorSpec, group: Sequence[Segment]) -> SegmentFiles:
    """A new segment with the rows of several that were not removed."""
    writer = SegmentWriter(folder, name, spec)
    try:
        for segment in group:
            alive = segment.alive_rows()
            for start in range(0, len(alive), BLOCK):
                block = alive[start : start + BLOCK]
                lines = list(segment.lines(block))
                writer.append(segment.vectors[block], segment.ids[block], lines)
        return writer.finish()
    finally:
        writer.close()
