"""Retrieval over one set of vectors: the ensemble, its learners, and the pixel baseline.

The result of `evaluate` holds only dicts, lists, floats and ints, and on one machine the same bits
on every call:

images, classes, queries (those with a positive; the others are in no mean)
gallery       how many images it has; left out where all images are
metrics       ensemble (concatenation), ensemble_mean_distance (where learners have weights at
              test, both are weighted by them), learners (each on its own),
              learners_mean, learners_std (over learners, of the m values themselves), pixels, with
              `Measures.binary` also binary (the ensemble's codes by Hamming distance, see `pack`),
              and whitened; each {"recall@K": .., "r_precision": .., "map@r": ..}
other_family  ensemble, pixels, where neighbours of the query's own group (say, a type family) do
              not count; with queries_other_family beside it. Left out without groups, if no query
              has a positive in another group, or if no gallery row is of the group of a query
domains       ensemble, pixels, see `by_domain`; with `Measures.domains`
cosine        see `between_learners`; left out for one learner
reidentification  see `across_cameras.measure`; where images have cameras and a gallery
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from abe_jax.errors import UserError
from abe_jax.evaluation import across_cameras, binary_codes, cosine, protocols
from abe_jax.evaluation.baselines import centred_pixels
from abe_jax.evaluation.by_domain import by_domain
from abe_jax.evaluation.divided import together
from abe_jax.evaluation.metrics import Scores
from abe_jax.evaluation.options import Measures, Ranking
from abe_jax.evaluation.protocols import GroundTruth


def evaluate(
    vectors: Float[np.ndarray | Array, "n m d"],
    labels: Int[np.ndarray | Array, "..."] | GroundTruth,
    measures: Measures = Measures(),  # noqa: B008 (immutable)
    *,
    pixels: Shaped[np.ndarray | Array, "..."] | None = None,
    whitened: Float[np.ndarray, "n k"] | None = None,
) -> dict[str, Any]:
    """Retrieval over n images; this module says what the result holds.

    Args:
        vectors: of m learners, as `Ensemble.compared` gives them.
        labels: integers [n], or a GroundTruth. With a `gallery` the images outside of it
            are its queries, in every part of the result; else each image is a query of all others.
        measures: what is measured; grains and copies are for `measure_split`.
        pixels: images [n, ...] as a baseline without any training, see `centred_pixels`.
        whitened: unit vectors, see `whitening.unit_whitened`.

    With `measures.divided` all hosts call it, with the same arguments but for `whitened`.
    Raises as `recall_at_k` and `by_domain`.
    """
    x = np.asarray(vectors)
    truth = labels if isinstance(labels, GroundTruth) else GroundTruth(np.asarray(labels))
    if x.ndim != 3:
        raise UserError(f"vectors must be [n, m, d], not of shape {x.shape}")
    baseline = None if pixels is None else centred_pixels(np.asarray(pixels))
    ensemble = scores(x, truth, measures)
    result: dict[str, Any] = {"images": len(x), "classes": len(np.unique(truth.labels))}
    result["queries"] = ensemble.queries
    if truth.gallery is not None:
        result["gallery"] = int(truth.gallery.sum())
    result["metrics"] = {"ensemble": ensemble.means()}
    result["metrics"] |= _of_learners(x, truth, measures, ensemble)
    result["metrics"] |= _beside(x, truth, measures, baseline, whitened)
    if truth.groups is not None:
        result |= _other_family(x, truth, measures, baseline)
    if measures.domains:
        ranked = {"ensemble": x} | ({} if baseline is None else {"pixels": baseline})
        block, divided = measures.block, measures.divided
        result["domains"] = by_domain(ranked, truth, measures.ks, block, divided=divided)
    if x.shape[1] > 1:
        result["cosine"] = cosine.between_learners(x, truth.labels, truth.gallery)
    beside = {"pixels": baseline, "whitened": whitened}
    persons = across_cameras.measure(x, truth, measures.block, **beside, divided=measures.divided)
    return result | persons


def scores(
    vectors: np.ndarray | Array,
    truth: GroundTruth,
    measures: Measures,
    *,
    other_groups: bool = False,
    ensemble: str = "concatenation",
) -> Scores:
    """The metrics of every query; with `other_groups` no neighbour of the query's group counts."""
    return protocols.scores(
        vectors,
        truth.labels,
        measures.ks,
        gallery=truth.gallery,
        groups=truth.groups if other_groups else None,
        ranking=Ranking(ensemble=ensemble, block=measures.block, divided=measures.divided),
    )


def _beside(
    x: np.ndarray,
    truth: GroundTruth,
    measures: Measures,
    baseline: np.ndarray | None,
    whitened: np.ndarray | None,
) -> dict[str, Any]:
    """What else is ranked: binary codes, pixels and whitened vectors."""
    result = {}
    if measures.binary:
        codes, by_bits = binary_codes.pack(x), binary_codes.HAMMING
        result["binary"] = scores(codes, truth, measures, ensemble=by_bits).means()
    if baseline is not None:
        result["pixels"] = scores(baseline, truth, measures).means()
    with together(measures.divided):
        if whitened is not None:  # the first host alone has such vectors
            alone = dataclasses.replace(measures, divided=False)
            result["whitened"] = scores(whitened, truth, alone).means()
    return result


def _of_learners(
    x: np.ndarray, truth: GroundTruth, measures: Measures, ensemble: Scores
) -> dict[str, Any]:
    """The ensemble by mean distance, each learner, and the learners' mean and spread."""
    if x.shape[1] == 1:  # one learner ranks alike by every one of these
        mean_distance, each = ensemble.means(), [ensemble.means()]
    else:
        mean_distance = scores(x, truth, measures, ensemble="mean_distance").means()
        each = [scores(x[:, p], truth, measures).means() for p in range(x.shape[1])]
    values = {name: np.array([learner[name] for learner in each]) for name in each[0]}
    return {
        "ensemble_mean_distance": mean_distance,
        "learners": each,
        "learners_mean": {name: float(value.mean()) for name, value in values.items()},
        "learners_std": {name: float(value.std()) for name, value in values.items()},
    }


def _other_family(
    x: np.ndarray, truth: GroundTruth, measures: Measures, baseline: np.ndarray | None
) -> dict[str, Any]:
    labels, gallery, groups = truth.labels, truth.gallery, truth.groups
    assert groups is not None
    if not protocols.positives(labels, gallery, groups).any():
        return {}
    if gallery is not None:
        queries, searched, _ = protocols.rows(len(x), gallery)
        if not np.intersect1d(groups[queries], groups[searched]).size:
            return {}
    ensemble = scores(x, truth, measures, other_groups=True)
    result = {"ensemble": ensemble.means()}
    if baseline is not None:
        result["pixels"] = scores(baseline, truth, measures, other_groups=True).means()
    return {"other_family": result, "queries_other_family": ensemble.queries}
