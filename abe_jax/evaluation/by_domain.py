"""Each domain of a split evaluated by itself, and the mean over domains."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

from abe_jax.errors import UserError
from abe_jax.evaluation import metrics, protocols
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.search import BLOCK

Means = dict[str, float]


def by_domain(
    ranked: Mapping[str, Vectors],
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    names: Sequence[str],
    *,
    gallery: Bool[np.ndarray, " n"] | None = None,
    ks: Sequence[int],
    block: int = BLOCK,
) -> dict:
    """Retrieval within each domain, and its mean with the same weight for each.

    Queries and gallery, which are all images or as the mask `gallery` has them, are those of one
    domain, so that a domain's images are not told from another's, only its classes from each
    other; a mean over domains is what Choi et al. (CVPR 2021, section 4.1) give of their four
    unseen sets. `ranked` names vectors ([n, d] or [n, m, d]) of the same n images, `names[g]` is
    the domain of the images with `groups` g. The result:

    each      {domain: {images, classes, queries, and for each of `ranked` its
              {"recall@K": .., "r_precision": .., "map@r": ..}}}
    mean      for each of `ranked` the mean over these domains; left out if there is none
    left_out  the domains without a query that has a positive

    Recall@K of a domain with no more than K images to be found is that of all of them. Errors: a
    group without a name, and those of `recall_at_k`.
    """
    there = np.unique(groups)
    if there[0] < 0 or there[-1] >= len(names):
        raise UserError(f"groups go from {there[0]} to {there[-1]}, but {len(names)} have a name")
    each, left_out = {}, []
    for group in there.tolist():
        rows = np.flatnonzero(groups == group)
        mask = None if gallery is None else gallery[rows]
        one_sided = mask is not None and mask.all() == mask.any()
        if not one_sided and protocols.positives(labels[rows], mask).any():
            each[names[group]] = _of_rows(ranked, labels, rows, mask, ks, block)
        else:
            left_out.append(names[group])
    found: dict = {"each": each, "left_out": left_out}
    if each:
        found["mean"] = {name: _mean([domain[name] for domain in each.values()]) for name in ranked}
    return found


def _of_rows(
    ranked: Mapping[str, Vectors],
    labels: Int[np.ndarray, " n"],
    rows: Int[np.ndarray, " k"],
    gallery: Bool[np.ndarray, " k"] | None,
    ks: Sequence[int],
    block: int,
) -> dict:
    y, most = labels[rows], protocols.rows(len(rows), gallery).reach
    found: dict = {"images": len(y), "classes": len(np.unique(y))}
    for name, vectors in ranked.items():
        reached = sorted({min(k, most) for k in ks})
        scores = protocols.scores(vectors[rows], y, reached, gallery=gallery, block=block)
        found["queries"] = scores.queries
        found[name] = _asked(scores.means(), ks, most)
    return found


def _asked(means: Means, ks: Sequence[int], most: int) -> Means:
    recalls = {f"recall@{k}": means[f"recall@{min(k, most)}"] for k in ks}
    return recalls | {name: means[name] for name in metrics.names(())}


def _mean(values: Sequence[Means]) -> Means:
    return {key: float(np.mean([one[key] for one in values])) for key in values[0]}
