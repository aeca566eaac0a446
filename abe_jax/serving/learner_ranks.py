"""What each learner alone says of the ensemble's neighbours."""

import numpy as np
from jaxtyping import Float, Float64, Int

from abe_jax.index.snapshot import Snapshot

BLOCK = 2**14  # rows compared at once


def learner_distances(
    snapshot: Snapshot, query: Float[np.ndarray, "m d"]
) -> Float64[np.ndarray, "n m"]:
    """Each learner's squared Euclidean distance from the query to every row, in the ids' order.

    Of a binary index, the number of its bits that differ. In float64, as the search's distances:
    the learners' sum to them. Not finite where a stored vector is not.
    """
    ids = snapshot.ids()
    blocks = [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
    parts = [_distances(snapshot.vectors(ids), query, snapshot.spec.storage) for ids in blocks]
    return np.concatenate([np.zeros((0, len(query))), *parts])


def _distances(
    vectors: Float[np.ndarray, "k m d"], query: Float[np.ndarray, "m d"], storage: str
) -> Float64[np.ndarray, "k m"]:
    if storage == "binary":
        return ((vectors > 0) != (query > 0)).sum(axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = vectors.astype(np.float64) - query[None].astype(np.float64)
        return np.einsum("kmd,kmd->km", difference, difference)


def learner_ranks(
    distances: Float[np.ndarray, "n m"], rows: Int[np.ndarray, " k"]
) -> Int[np.ndarray, "k m"]:
    """Each learner's rank, from 1, of some rows; of equals the earlier is the nearer."""
    numbers = np.arange(len(distances))[:, None]
    ranks = [
        (distances < distances[row]).sum(axis=0)
        + ((distances == distances[row]) & (numbers < row)).sum(axis=0)
        for row in rows
    ]
    return np.stack(ranks) + 1 if ranks else np.zeros((0, distances.shape[1]), np.int64)
