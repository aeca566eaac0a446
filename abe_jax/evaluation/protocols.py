"""Who asks whom in a split: every image all others, or its queries its gallery."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from abe_jax.errors import UserError
from abe_jax.evaluation import knn, metrics
from abe_jax.evaluation.binary_codes import Packed
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.search import BLOCK


class Rows(NamedTuple):
    """The rows of a split that ask and those that are searched; all and all, `alone`, without."""

    queries: Int[np.ndarray, " q"]
    gallery: Int[np.ndarray, " g"]
    alone: bool

    @property
    def reach(self) -> int:
        """How many neighbours each query has."""
        return len(self.gallery) - self.alone


def rows(count: int, gallery: Bool[np.ndarray, " n"] | None) -> Rows:
    """The rows of a split of `count` images; `gallery` as in `Split.gallery`.

    Raises:
        UserError: a mask of another length, no query, or no gallery.
    """
    if gallery is None:
        every = np.arange(count)
        return Rows(every, every, alone=True)
    if gallery.shape != (count,) or gallery.dtype != bool:
        raise UserError(
            f"gallery must be one bool for each of {count} images, "
            f"not {gallery.dtype} of shape {gallery.shape}"
        )
    found = Rows(np.flatnonzero(~gallery), np.flatnonzero(gallery), alone=False)
    for what, these in (("query", found.queries), ("gallery", found.gallery)):
        if not len(these):
            raise UserError(f"none of {count} images is a {what} image: nothing can be measured")
    return found


def positives(
    labels: Int[np.ndarray, " n"],
    gallery: Bool[np.ndarray, " n"] | None,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Int[np.ndarray, " q"]:
    """How many rows are right for each query of a split, as `metrics.positives` counts them."""
    asking, asked, alone = rows(len(labels), gallery)
    return metrics.positives(
        labels[asking],
        labels[asked],
        alone=alone,
        groups=None if groups is None else groups[asking],
        gallery_groups=None if groups is None else groups[asked],
    )


def scores(
    vectors: Vectors | Packed,
    labels: Int[np.ndarray, " n"],
    ks: Sequence[int],
    *,
    gallery: Bool[np.ndarray, " n"] | None = None,
    groups: Shaped[np.ndarray, " n"] | None = None,
    ensemble: str = "concatenation",
    block: int = BLOCK,
) -> metrics.Scores:
    """All metrics of a split's queries, as `metrics.scores` has them.

    Without a `gallery` each image asks all others. With one the images outside of it ask it alone:
    a query finds no other query, and no row of the gallery asks; classes in the gallery that have
    no query are distractors. Ties, `groups` and errors are those of `metrics.scores` and `rows`.
    """
    if gallery is None:
        return metrics.scores(vectors, labels, ks, groups=groups, ensemble=ensemble, block=block)
    asking, asked, _ = rows(len(labels), gallery)
    return metrics.scores(
        vectors[asking],
        labels[asking],
        ks,
        gallery=vectors[asked],
        gallery_labels=labels[asked],
        groups=None if groups is None else groups[asking],
        gallery_groups=None if groups is None else groups[asked],
        ensemble=ensemble,
        block=block,
    )


def nearest(
    vectors: Vectors, gallery: Bool[np.ndarray, " n"] | None, k: int, *, block: int = BLOCK
) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, "q k"]]:
    """The rows of a split's queries, and for each the rows of its k nearest, or of all there are.

    Ties and errors as in `neighbours.nearest` and `rows`.
    """
    asking, asked, alone = found = rows(len(vectors), gallery)
    k = min(k, found.reach)
    if alone:
        _, near = knn.nearest(vectors, vectors, k, exclude_self=True, block=block)
    else:
        _, near = knn.nearest(vectors[asking], vectors[asked], k, block=block)
    return asking, asked[near]
