"""Persons found again by another camera: cumulative match, mean average precision and mINP.

Who is asked: images of a query side look in a gallery. Of a query's gallery the images of the same
person under the same camera are left out, neither right nor wrong; other persons under that camera
stay, and are wrong. Junk (`JUNK` in the place of a person) counts for no query; persons whom nobody
asks for are distractors, and wrong.

Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015, for the protocol;
Ye et al., Deep Learning for Person Re-identification: A Survey and Outlook, TPAMI 2021, for mINP.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from abe_jax.errors import UserError
from abe_jax.evaluation import arguments, protocols
from abe_jax.evaluation.arguments import Codes
from abe_jax.evaluation.divided import together
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.protocols import GroundTruth
from abe_jax.evaluation.ranks import alike, ranks
from abe_jax.evaluation.search import BLOCK

JUNK = -1  # the label of an image that counts neither as right nor as wrong
KS = (1, 5, 10)  # of CMC


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reidentified:
    """Values of every query that has a right image in its gallery; their means are the figures."""

    rows: Int[np.ndarray, " queries"]  # which rows of the vectors these are
    gallery: int  # how many images are searched, junk left out
    first: Int[np.ndarray, " queries"]  # place of the first right image, 0 the nearest
    average_precision: Float[np.ndarray, " queries"]
    inverse_penalty: Float[np.ndarray, " queries"]

    def means(self, ks: Sequence[int] = KS) -> dict[str, float]:
        """{"rank-K": CMC at each K that the gallery reaches, "map": .., "minp": ..}, of 1."""
        cmc = {f"rank-{k}": float((self.first < k).mean()) for k in ks if k <= self.gallery}
        return cmc | {
            "map": float(self.average_precision.mean()),
            "minp": float(self.inverse_penalty.mean()),
        }


def reidentification(
    vectors: Vectors,
    labels: Codes,
    cameras: Codes,
    gallery: Codes,
    *,
    block: int = BLOCK,
    divided: bool = False,
) -> Reidentified:
    """The ranking of all that counts of the gallery, for each query: this module says what does.

    first              CMC at K is the share of queries for which it is below K
    average_precision  1/R sum_j j / p_j of the R right images at places p_1 < p_2 < .., counted
                       from 1: the plain mean of the precisions at each of them, as the field's
                       programs in Python have it. (The program in MATLAB that Market-1501 came
                       with takes the trapezoidal rule, `grains.average_precision`.)
    inverse_penalty    R / p_R, whose mean is mINP: the last right image is the hardest to find

    A query without a right image is in no mean, as in the field's programs. Order and ties are
    those of `knn` with concatenated learners: by float64's distances, equal ones by their row.

    Args:
        vectors: [n, d] or [n, m, d], of queries and gallery.
        labels: [n] integers, the person; JUNK in the gallery is nobody.
        cameras: [n] integers.
        gallery: [n] bools: a gallery's row, or a query.
        block: queries compared with the gallery at once.
        divided: as in `Ranking`.

    Raises:
        UserError: shapes that do not fit, no query or no gallery, a vector that is not finite, or
            no query with a right image.
    """
    x = np.asarray(vectors)
    people = arguments.integers(labels, len(x), "labels")
    under = arguments.integers(cameras, len(x), "cameras")
    asking, searched, _ = protocols.rows(len(x), np.asarray(gallery))
    searched, seen = searched[people[searched] != JUNK], _seen(people, under)
    targets = alike(people[asking], people[searched])
    if targets.size:
        same_camera = seen[searched][targets] == seen[asking][:, None]
        targets = np.where(same_camera, -1, targets)  # -1 stays -1, whatever it is compared with
    answered = np.flatnonzero((targets >= 0).any(axis=1))
    if not len(answered):
        raise UserError(
            "no query has an image of its person under another camera: nothing can be measured"
        )
    asking, targets = asking[answered], targets[answered]
    groups = seen[asking], seen[searched]
    both = x[asking], x[searched]
    positions = ranks(*both, targets, groups=groups, block=block, divided=divided)
    return _figures(asking, len(searched), positions, targets >= 0)


def _seen(people: Int[np.ndarray, " n"], cameras: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """A number for each person under each camera."""
    both = np.stack([people, cameras], axis=1)
    return np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)


def _figures(
    rows: Int[np.ndarray, " q"],
    gallery: int,
    positions: Int[np.ndarray, "q t"],
    right: np.ndarray,
) -> Reidentified:
    ordered = np.sort(np.where(right, positions, np.iinfo(np.int64).max), axis=1)
    number = right.sum(axis=1)
    counted = np.arange(ordered.shape[1])[None] < number[:, None]
    from_one = np.where(counted, ordered + 1.0, np.inf)
    precision = np.arange(1, ordered.shape[1] + 1)[None] / from_one
    last = from_one[np.arange(len(rows)), number - 1]
    return Reidentified(
        rows=rows,
        gallery=gallery,
        first=ordered[:, 0],
        average_precision=precision.sum(axis=1) / number,
        inverse_penalty=number / last,
    )


def measure(
    vectors: np.ndarray,
    truth: GroundTruth,
    block: int,
    *,
    pixels: np.ndarray | None = None,
    whitened: np.ndarray | None = None,
    divided: bool = False,
) -> dict[str, Any]:
    """{"reidentification": ..} of a split whose images have cameras and a gallery, else {}.

    queries  those with an image of their person under another camera; the others are in no mean
    gallery  how many images are searched
    metrics  ensemble and, of several learners, learners_mean; pixels and whitened where they are
             given; each as `Reidentified.means`. Empty where no query is left

    `vectors` are [n, m, d]; `divided` as in `Ranking`, but the first host ranks `whitened` alone.
    """
    if truth.cameras is None or truth.gallery is None:
        return {}
    cameras, gallery = truth.cameras, truth.gallery
    found = {"queries": 0, "gallery": int(gallery.sum()), "metrics": {}}
    seen = _seen(np.asarray(truth.labels), cameras)
    if not protocols.positives(truth.labels, gallery, seen).any():
        return {"reidentification": found}

    def of(x: np.ndarray, divided: bool = divided) -> Reidentified:
        return reidentification(x, truth.labels, cameras, gallery, block=block, divided=divided)

    ensemble, learners = of(vectors), vectors.shape[1]
    metrics = {"ensemble": ensemble.means()}
    if learners > 1:
        each = [of(vectors[:, p]).means() for p in range(learners)]
        metrics["learners_mean"] = {k: float(np.mean([one[k] for one in each])) for k in each[0]}
    if pixels is not None:
        metrics["pixels"] = of(pixels).means()
    with together(divided):
        if whitened is not None:
            metrics["whitened"] = of(whitened, divided=False).means()
    return {"reidentification": found | {"queries": len(ensemble.rows), "metrics": metrics}}
