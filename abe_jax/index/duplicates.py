"""Near-duplicates in an index: images that chains of small distances join."""

import numpy as np
from jaxtyping import Float, Int, Int64

from abe_jax.errors import ArgumentError
from abe_jax.evaluation import near_pairs
from abe_jax.index.snapshot import Snapshot, not_finite
from abe_jax.index.vectors import copy_distance


def distance_at_cosine(snapshot: Snapshot, cosine: float) -> float:
    """The squared distance of the concatenation at which learners' cosines are `cosine` on average.

    |x - y|^2 = 2 m (1 - cosine), for m unit vectors; where learners have weights at test, the
    average is weighted by these squared. Not less than what copies of one image may
    differ by (`vectors.COPY`), so that a cosine of 1 finds them.

    Raises:
        ArgumentError: no cosine, or an index of codes, whose distances are bits.
    """
    if snapshot.spec.storage == "binary":
        raise ArgumentError("cosine", "does not fit binary codes; name a distance, in bits")
    if not -1 <= cosine <= 1:
        raise ArgumentError("cosine", f"lies in -1 to 1 and is not {cosine:g}")
    return max(2 * snapshot.spec.learners * (1 - cosine), copy_distance(snapshot.spec))


def duplicate_groups(snapshot: Snapshot, distance: float) -> list[Int64[np.ndarray, " g"]]:
    """The ids of images that pairs at most `distance` apart join, in groups of two and more.

    Groups are the connected components of the graph of such pairs (`near_pairs.components`),
    largest first, then by their smallest id, so two images of a group may be farther apart than
    `distance`. Distances are those of the index: squared Euclidean, or bits. A vector that is not
    finite has none.

    Raises:
        ArgumentError: the distance is negative, infinite or no number.
    """
    if not 0 <= distance < np.inf:
        raise ArgumentError("distance", f"must be 0 or more, and finite, not {distance:g}")
    ids = np.setdiff1d(snapshot.ids(), not_finite(snapshot))
    roots = near_pairs.components(
        len(ids),
        lambda start: _block(snapshot, ids, start),
        distance,
        bits=snapshot.spec.storage == "binary",
    )
    return _groups(ids, roots)


def _block(
    snapshot: Snapshot, ids: Int64[np.ndarray, " n"], start: int
) -> Float[np.ndarray, "b D"]:
    vectors = snapshot.vectors(ids[start : start + near_pairs.BLOCK])
    return vectors.reshape(len(vectors), -1)


def _groups(
    ids: Int64[np.ndarray, " n"], roots: Int[np.ndarray, " n"]
) -> list[Int64[np.ndarray, " g"]]:
    order = np.argsort(roots, kind="stable")
    cuts = np.flatnonzero(np.diff(roots[order])) + 1
    groups = [ids[part] for part in np.split(order, cuts) if len(part) > 1]
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))
