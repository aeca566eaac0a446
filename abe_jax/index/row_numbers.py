"""The rows of all segments as one gallery: row i of it is at place i, in the order of the ids."""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Int64, Shaped

from abe_jax.evaluation.search import NOBODY
from abe_jax.index.manifest import STORAGES
from abe_jax.index.segments import Opened
from abe_jax.index.snapshot import Snapshot


def size(snapshot: Snapshot) -> int:
    """The number of places; rows that were removed have theirs until their segment is rewritten."""
    return sum(part.segment.count for part in snapshot.segments)


def chunks(
    snapshot: Snapshot, length: int
) -> Iterator[tuple[Shaped[np.ndarray, "n w"], Int[np.ndarray, " n"]]]:
    """Vectors as they are stored, `length` at once or what is left, and their places.

    The place of a row that was removed is NOBODY. Nothing is copied where one segment fills it.
    """
    for start in range(0, size(snapshot), length):
        stop = min(start + length, size(snapshot))
        places = np.arange(start, stop, dtype=np.int32)
        vectors = []
        for first, part in _spread(snapshot):
            low, high = max(start - first, 0), min(stop - first, part.segment.count)
            if low < high:
                vectors.append(part.vectors[low:high])
                if part.alive is not None:
                    dead = ~part.alive[low:high]
                    places[first + low - start : first + high - start][dead] = NOBODY
        yield (vectors[0] if len(vectors) == 1 else np.concatenate(vectors)), places


def gathered(
    snapshot: Snapshot, places: Int[np.ndarray, " k"]
) -> tuple[Shaped[np.ndarray, "k w"], Int64[np.ndarray, " k"]]:
    """The vectors as they are stored and the ids at some places; NOBODY gives zeros and NOBODY."""
    vectors = np.zeros((len(places), snapshot.spec.width), STORAGES[snapshot.spec.storage])
    ids = np.full(len(places), NOBODY, np.int64)
    for first, part in _spread(snapshot):
        here = (places >= first) & (places < first + part.segment.count)
        vectors[here] = part.vectors[places[here] - first]
        ids[here] = part.ids[places[here] - first]
    return vectors, ids


def _spread(snapshot: Snapshot) -> Iterator[tuple[int, Opened]]:
    counts = (part.segment.count for part in snapshot.segments)
    return zip(itertools.accumulate(counts, initial=0), snapshot.segments, strict=False)
