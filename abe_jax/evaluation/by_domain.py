"""Each domain of a split evaluated by itself, and the mean over domains."""

from collections.abc import Mapping, Sequence

import numpy as np

from abe_jax.errors import UserError
from abe_jax.evaluation import metrics, protocols
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.protocols import GroundTruth
from abe_jax.evaluation.search import BLOCK

Means = dict[str, float]


def by_domain(
    ranked: Mapping[str, Vectors],
    truth: GroundTruth,
    ks: Sequence[int],
    block: int = BLOCK,
    *,
    divided: bool = False,
) -> dict:
    """Retrieval within each domain, and the mean over domains, each with the same weight.

    Queries and gallery are those of one domain, so its classes are told from each other, but not
    its images from another domain's; Choi et al. (CVPR 2021, section 4.1) give such a mean of four
    unseen sets. `ranked` names vectors ([n, d] or [n, m, d]) of the same n images. The result:

    each      {domain: {images, classes, queries, and for each of `ranked` its
              {"recall@K": .., "r_precision": .., "map@r": ..}}}
    mean      for each of `ranked` the mean over these domains; left out if there is none
    left_out  the domains without a query that has a positive

    Recall@K of a domain with no more than K images to be found is that of all of them. `block` and
    `divided` are those of `Ranking`. Errors: no groups, a group without a name, and those of
    `recall_at_k`.
    """
    names, groups = truth.group_names, truth.groups
    if groups is None:
        raise UserError("the names of domains need the groups that they are the names of")
    present = np.unique(groups)
    first, last = present[0], present[-1]
    if first < 0 or last >= len(names):
        raise UserError(f"groups go from {first} to {last}, but {len(names)} have a name")
    each, left_out, ranking = {}, [], Ranking(block=block, divided=divided)
    for group in present.tolist():
        rows = np.flatnonzero(groups == group)
        mask = None if truth.gallery is None else truth.gallery[rows]
        own = GroundTruth(truth.labels[rows], mask)
        one_sided = mask is not None and mask.all() == mask.any()
        if not one_sided and protocols.positives(own.labels, mask).any():
            vectors = {name: rows_of[rows] for name, rows_of in ranked.items()}
            each[names[group]] = _of_domain(vectors, own, ks, ranking)
        else:
            left_out.append(names[group])
    result: dict = {"each": each, "left_out": left_out}
    means = {name: _mean([domain[name] for domain in each.values()]) for name in ranked if each}
    return result | ({"mean": means} if each else {})


def _of_domain(
    ranked: Mapping[str, Vectors], truth: GroundTruth, ks: Sequence[int], ranking: Ranking
) -> dict:
    labels, gallery = truth.labels, truth.gallery
    most = protocols.rows(len(labels), gallery).neighbours
    reached = sorted({min(k, most) for k in ks})
    result: dict = {"images": len(labels), "classes": len(np.unique(labels))}
    for name, vectors in ranked.items():
        scores = protocols.scores(vectors, labels, reached, gallery=gallery, ranking=ranking)
        result["queries"] = scores.queries
        result[name] = _at_all(scores.means(), ks, most)
    return result


def _at_all(means: Means, ks: Sequence[int], most: int) -> Means:
    recalls = {f"recall@{k}": means[f"recall@{min(k, most)}"] for k in ks}
    return recalls | {name: means[name] for name in metrics.metric_names(())}


def _mean(values: Sequence[Means]) -> Means:
    return {key: float(np.mean([one[key] for one in values])) for key in values[0]}
