"""Which images of a split are queries of which: each of all others, or queries of a gallery."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from abe_jax.data.split import Split, chosen
from abe_jax.errors import UserError
from abe_jax.evaluation import knn, metrics
from abe_jax.evaluation.binary_codes import Packed
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.search import BLOCK


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """What is known of n images beside the vectors that are ranked."""

    labels: Int[np.ndarray, " n"]  # the class
    # True: a row of the gallery, the others are queries; None: every image is a query of all others
    gallery: Bool[np.ndarray, " n"] | None = None
    groups: Int[np.ndarray, " n"] | None = None  # the domain or, of glyphs, the type family
    group_names: Sequence[str] = ()  # by group
    cameras: Int[np.ndarray, " n"] | None = None  # which took each, for re-identification

    @classmethod
    def of(cls, split: Split, image_ids: Int[np.ndarray, " n"]) -> "GroundTruth":
        """Of the images `image_ids` of a split."""
        part = chosen(split, image_ids)
        return cls(part.labels, part.gallery, part.groups, part.group_names, part.cameras)


class QueriesAndGallery(NamedTuple):
    """The query and gallery rows of a split; `leave_one_out`: each row against all others."""

    queries: Int[np.ndarray, " q"]
    gallery: Int[np.ndarray, " g"]
    leave_one_out: bool

    @property
    def neighbours(self) -> int:
        """How many neighbours each query has."""
        return len(self.gallery) - self.leave_one_out


def rows(count: int, gallery: Bool[np.ndarray, " n"] | None) -> QueriesAndGallery:
    """The rows of a split of `count` images; `gallery` as in `GroundTruth`.

    Raises:
        UserError: a mask of another length, no query, or no gallery.
    """
    if gallery is None:
        every = np.arange(count)
        return QueriesAndGallery(every, every, leave_one_out=True)
    if gallery.shape != (count,) or gallery.dtype != bool:
        raise UserError(
            f"gallery must be one bool for each of {count} images, "
            f"not {gallery.dtype} of shape {gallery.shape}"
        )
    both = QueriesAndGallery(np.flatnonzero(~gallery), np.flatnonzero(gallery), leave_one_out=False)
    for what, these in (("query", both.queries), ("gallery", both.gallery)):
        if not len(these):
            raise UserError(f"none of {count} images is a {what} image: nothing can be measured")
    return both


def positives(
    labels: Int[np.ndarray, " n"],
    gallery: Bool[np.ndarray, " n"] | None,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Int[np.ndarray, " q"]:
    """How many rows are right for each query of a split, as `metrics.positives` counts them."""
    both = rows(len(labels), gallery)
    return metrics.positives(
        labels[both.queries],
        labels[both.gallery],
        leave_one_out=both.leave_one_out,
        groups=None if groups is None else (groups[both.queries], groups[both.gallery]),
    )


def scores(
    vectors: Vectors | Packed,
    labels: Int[np.ndarray, " n"],
    ks: Sequence[int],
    *,
    gallery: Bool[np.ndarray, " n"] | None = None,
    groups: Shaped[np.ndarray, " n"] | None = None,
    ranking: Ranking = Ranking(),  # noqa: B008 (immutable)
) -> metrics.Scores:
    """All metrics of a split's queries, as `metrics.scores` has them.

    Without a `gallery` each image is a query of all others. With one, the images outside of it are
    queries of the gallery only: a query finds no other query, and no row of the gallery is a query;
    classes in the gallery that have no query are distractors. Ties, `groups` and errors are
    those of `metrics.scores` and `rows`.
    """
    if gallery is None:
        return metrics.scores(vectors, labels, ks, groups=groups, ranking=ranking)
    queries, searched, _ = rows(len(labels), gallery)
    return metrics.scores(
        vectors[queries],
        labels[queries],
        ks,
        groups=None if groups is None else groups[queries],
        gallery=metrics.LabelledGallery(
            vectors[searched], labels[searched], None if groups is None else groups[searched]
        ),
        ranking=ranking,
    )


def nearest(
    vectors: Vectors, gallery: Bool[np.ndarray, " n"] | None, k: int, *, block: int = BLOCK
) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, "q k"]]:
    """The rows of a split's queries, and for each the rows of its k nearest, or of all there are.

    Ties and errors as in `knn` and `rows`.
    """
    both, ranking = rows(len(vectors), gallery), Ranking(block=block)
    k = min(k, both.neighbours)
    if both.leave_one_out:
        _, near = knn.knn(vectors, vectors, k, exclude_self=True, ranking=ranking)
    else:
        _, near = knn.knn(vectors[both.queries], vectors[both.gallery], k, ranking=ranking)
    return both.queries, both.gallery[near]
