"""The three grains of likeness as figures: the class, the instance and the copy.

What MultiGrain is measured by (Berman et al. 2019, arXiv 1902.05509): top-k accuracy of its
classifier, mean average precision and UKBench's score among images of single objects or scenes, and
mean average precision where altered copies look for their original among distractors.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from abe_jax.evaluation import knn, protocols
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.ranks import alike, ranks
from abe_jax.evaluation.search import BLOCK

UKBENCH = 4  # how many of the nearest are looked at; its groups have so many images


def top_k(
    embeddings: Float[np.ndarray | Array, "n m d"],
    kernel: Float[np.ndarray | Array, "m d c"],
    bias: Float[np.ndarray | Array, "m c"],
    labels: Int[np.ndarray, " n"],
    ks: Sequence[int] = (1, 5),
    block: int = BLOCK,
) -> dict[str, float]:
    """{"top-K": share of images whose class is among the K of highest logit}, for each K < c.

    The logits are x W + b, the mean over learners; equal ones rank by class index. K = 1 is
    always there. With one learner this is the accuracy of its classifier.
    """
    w, b = np.asarray(kernel, np.float64), np.asarray(bias, np.float64).mean(axis=0)
    before = np.zeros(len(labels), np.int64)
    for start in range(0, len(labels), block):
        at = slice(start, start + block)
        x = np.asarray(embeddings[at], np.float64)
        logits = np.einsum("nmd,mdc->nc", x, w, optimize=True) / len(w) + b[None]
        own = np.take_along_axis(logits, labels[at][:, None], axis=1)
        lower = np.arange(logits.shape[1])[None] < labels[at][:, None]
        before[at] = ((logits > own) | ((logits == own) & lower)).sum(axis=1)
    return {f"top-{k}": float((before < k).mean()) for k in ks if k == 1 or k < w.shape[2]}


def instance(
    vectors: Vectors,
    object_ids: Int[np.ndarray, " n"],
    gallery: Bool[np.ndarray, " n"] | None = None,
    *,
    block: int = BLOCK,
) -> dict[str, float | int]:
    """Retrieval of other images of the same object; empty where no object has two images.

    images, queries  all images, and objects with two or more, whose first image is a query
    map              INRIA Holidays' (Jegou et al., ECCV 2008): each object's first image is a query
                     of all others; the mean of `average_precision`
    ukbench          UKBench's score (Nister and Stewenius, CVPR 2006): the mean, over images whose
                     object has two or more, of how many of the 4 nearest show it. The image itself
                     counts as one of the 4 and as right
    ukbench_most     what a perfect ranking would score: 4 where objects have 4 images or more

    `object_ids` [n]: rows of one number show one object. Ties as in `knn`. With a `gallery` each
    image outside of it is its query: `queries` are those whose object it shows, `gallery` its
    images, and UKBench's score, whose queries are all images, is left out.
    """
    if gallery is not None:
        return _of_gallery(vectors, object_ids, gallery, block)
    _, codes, sizes = np.unique(object_ids, return_inverse=True, return_counts=True)
    if sizes.max(initial=0) < 2:
        return {}
    sought = np.flatnonzero(sizes[codes] > 1)
    k, ranking = min(UKBENCH, len(codes)) - 1, Ranking(block=block)
    _, nearest = knn.knn(vectors, vectors, k, exclude_self=True, ranking=ranking)
    right = 1 + (codes[nearest] == codes[:, None]).sum(axis=1)
    queries, targets = _first_and_others(codes, sizes)
    ranked = ranks(vectors, vectors, targets, rows=queries, block=block)
    return {
        "images": len(codes),
        "queries": len(queries),
        "map": float(average_precision(ranked, targets >= 0).mean()),
        "ukbench": float(right[sought].mean()),
        "ukbench_most": float(np.minimum(sizes[codes[sought]], UKBENCH).mean()),
    }


def _of_gallery(
    vectors: Vectors,
    object_ids: Int[np.ndarray, " n"],
    gallery: Bool[np.ndarray, " n"],
    block: int,
) -> dict[str, float | int]:
    """`instance` of queries against a gallery."""
    queries, searched, _ = protocols.rows(len(object_ids), gallery)
    queries = queries[np.isin(object_ids[queries], object_ids[searched])]
    if not len(queries):
        return {}
    targets = alike(object_ids[queries], object_ids[searched])
    ranked = ranks(vectors[queries], vectors[searched], targets, block=block)
    return {
        "images": len(object_ids),
        "queries": len(queries),
        "gallery": len(searched),
        "map": float(average_precision(ranked, targets >= 0).mean()),
    }


def _first_and_others(
    codes: Int[np.ndarray, " n"], sizes: Int[np.ndarray, " o"]
) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, "q t"]]:
    """Of every object with two images: its first row, and its other rows filled up with -1."""
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    column = np.arange(len(codes)) - starts[codes[order]]
    table = np.full((len(sizes), sizes.max()), -1, np.int64)
    table[codes[order], column] = order
    table = table[sizes > 1]
    return table[:, 0], table[:, 1:]


def average_precision(
    positions: Int[np.ndarray, "q t"], mask: Bool[np.ndarray, "q t"]
) -> Float[np.ndarray, " q"]:
    """Average precision of each query by the trapezoidal rule, as Holidays and Copydays have it.

    1/R sum_j (P_j + P'_j) / 2 over the R right ones at positions r_j = 0, 1, .. of the ranking;
    P_j = j / r_j is the precision just before the j-th right one (1 at position 0) and
    P'_j = (j + 1) / (r_j + 1) the one just behind it. `mask` says which entries count; every query
    has one.
    """
    ranked = np.sort(np.where(mask, positions, np.iinfo(np.int64).max), axis=1).astype(np.float64)
    earlier = np.arange(ranked.shape[1], dtype=np.float64)[None]
    before = np.where(ranked > 0, earlier / np.maximum(ranked, 1.0), 1.0)
    behind = (earlier + 1.0) / (ranked + 1.0)
    right = mask.sum(axis=1)
    counted = earlier < right[:, None]
    return ((before + behind) / 2.0 * counted).sum(axis=1) / right


def copies(
    vectors: Vectors,
    original_rows: Int[np.ndarray, " q"],
    kinds: Int[np.ndarray, " q"],
    names: Sequence[str],
    gallery: Vectors,
    *,
    block: int = BLOCK,
) -> dict:
    """Copies that look for their original among a gallery of originals and distractors.

    {"queries", "gallery", "map", "recall@1", "attacks": {name: {"map", "recall@1"}}}: the means
    over all copies, and over those of each kind. One gallery row is right for each copy,
    `original_rows` [q]; the average precision is the trapezoidal one, 1 at rank 0 and half of
    1 / (rank + 1) behind it. `kinds` [q] are indices into `names`; a kind without a copy is left
    out.
    Source: Copydays (Douze et al., CIVR 2009) for the task.
    """
    ranked = ranks(vectors, gallery, original_rows[:, None], block=block)
    precision = average_precision(ranked, np.ones(ranked.shape, bool))
    first = ranked[:, 0] == 0

    def means(chosen: np.ndarray) -> dict[str, float]:
        return {
            "map": float(precision[chosen].mean()),
            "recall@1": float(first[chosen].mean()),
        }

    of_kind = {name: kinds == i for i, name in enumerate(names)}
    return {
        "queries": len(original_rows),
        "gallery": len(gallery),
        **means(np.ones(len(original_rows), bool)),
        "attacks": {name: means(rows) for name, rows in of_kind.items() if rows.any()},
    }
