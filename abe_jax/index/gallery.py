"""The rows of all segments as one gallery, numbered from 0 in the order of their ids."""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Int64, Shaped

from abe_jax.evaluation.order import NO_ROW
from abe_jax.index.manifest import STORAGES
from abe_jax.index.segments import Segment
from abe_jax.index.snapshot import Snapshot


def size(snapshot: Snapshot) -> int:
    """How many rows are numbered; removed ones keep theirs until their segment is rewritten."""
    return sum(segment.size for segment in snapshot.segments)


def chunks(
    snapshot: Snapshot, length: int
) -> Iterator[tuple[Shaped[np.ndarray, "n w"], Int[np.ndarray, " n"]]]:
    """Vectors as they are stored, `length` at once or what is left, and their row numbers.

    The number of a removed row is NO_ROW. Nothing is copied where one segment fills the chunk.
    """
    for start in range(0, size(snapshot), length):
        stop = min(start + length, size(snapshot))
        numbers = np.arange(start, stop, dtype=np.int32)
        vectors = []
        for first, segment in _with_first(snapshot):
            low, high = max(start - first, 0), min(stop - first, segment.size)
            if low < high:
                vectors.append(segment.vectors[low:high])
                if segment.alive is not None:
                    removed = ~segment.alive[low:high]
                    numbers[first + low - start : first + high - start][removed] = NO_ROW
        yield (vectors[0] if len(vectors) == 1 else np.concatenate(vectors)), numbers


def gather(
    snapshot: Snapshot, numbers: Int[np.ndarray, " k"]
) -> tuple[Shaped[np.ndarray, "k w"], Int64[np.ndarray, " k"]]:
    """The stored vectors and the ids of some row numbers; NO_ROW gives zeros and NO_ROW."""
    vectors = np.zeros((len(numbers), snapshot.spec.width), STORAGES[snapshot.spec.storage])
    ids = np.full(len(numbers), NO_ROW, np.int64)
    for first, segment in _with_first(snapshot):
        here = (numbers >= first) & (numbers < first + segment.size)
        vectors[here] = segment.vectors[numbers[here] - first]
        ids[here] = segment.ids[numbers[here] - first]
    return vectors, ids


def _with_first(snapshot: Snapshot) -> Iterator[tuple[int, Segment]]:
    """The segments, each with the number of its first row."""
    sizes = (segment.size for segment in snapshot.segments)
    return zip(itertools.accumulate(sizes, initial=0), snapshot.segments, strict=False)
