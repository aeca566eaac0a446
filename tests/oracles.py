"""What losses and metrics are by definition: loops over pairs in float64, nothing shared."""

import math

import numpy as np


def _distance(x, y, squared):
    total = sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))
    return total if squared else math.sqrt(total)


def _mean(values):
    return sum(values) / len(values) if values else 0.0


def _one_learner(vectors, labels, margin, squared, pairs, reduction, form):
    n = len(labels)
    every = [(i, j) for i in range(n) for j in range(i + 1, n)]
    chosen = every if pairs == "all" else [(i, i + 1) for i in range(0, n - 1, 2)]
    positives, negatives = [], []
    for i, j in chosen:
        distance = _distance(vectors[i], vectors[j], squared)
        if form == "hadsell":  # D^2, and [m - D]_+^2 with the distance itself inside
            distance = _distance(vectors[i], vectors[j], False)
            terms = distance**2, max(margin - distance, 0.0) ** 2
        else:
            terms = distance, max(margin - distance, 0.0)
        if labels[i] == labels[j]:
            positives.append(terms[0])
        else:
            negatives.append(terms[1])
    if reduction == "sum_per_image":  # both orders of every pair
        return sum(2 * term for term in positives + negatives) / n if n else 0.0
    if reduction == "mean":
        return _mean(positives + negatives)
    if reduction == "mean_each":
        return _mean(positives) + _mean(negatives)
    return _mean(positives) + _mean([term for term in negatives if term > 0])


def contrastive(
    vectors,
    labels,
    *,
    margin=1.0,
    squared=True,
    pairs="all",
    reduction="mean_each",
    form="abe",
    mask=None,
):
    x = np.asarray(vectors, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    here = np.ones(len(x), bool) if mask is None else np.asarray(mask)
    x, labels = x[here], np.asarray(labels)[here]
    options = margin, squared, pairs, reduction, form
    return sum(_one_learner(x[:, p], labels, *options) for p in range(x.shape[1]))


def divergence(vectors, labels=None, *, margin=1.0, squared=True, reduction="mean", mask=None):
    x = np.asarray(vectors, np.float64)
    here = np.ones(len(x), bool) if mask is None else np.asarray(mask)
    terms = [
        max(margin - _distance(image[p], image[q], squared), 0.0)
        for image in x[here]
        for p in range(x.shape[1])
        for q in range(p + 1, x.shape[1])
    ]
    if reduction == "sum":
        return sum(terms)
    if reduction == "mean_image":
        return sum(terms) / here.sum() if here.any() else 0.0
    return _mean(terms if reduction == "mean" else [term for term in terms if term > 0])


def slope(function, at, towards, step=1e-5):
    """Derivative of a float64 function along a direction, by central difference."""
    ahead, behind = at + step * towards, at - step * towards
    return (function(ahead) - function(behind)) / (2 * step)


def ranking(query, gallery, own=None, group=None, gallery_groups=None, rooted=False):
    """Gallery indices of learners' vectors [n, m, d] by rising distance, ties by index."""
    distances = []
    for j, item in enumerate(gallery):
        if j == own or (gallery_groups is not None and gallery_groups[j] == group):
            continue
        squared = [_distance(q, g, True) for q, g in zip(query, item, strict=True)]
        distance = sum(math.sqrt(s) for s in squared) / len(squared) if rooted else sum(squared)
        distances.append((distance, j))
    return [j for _, j in sorted(distances)]


def retrieval(vectors, labels, ks, groups=None, rooted=False, gallery=None):
    """Metrics by their definitions, leave-one-out or of queries against a gallery.

    Queries without a positive are left out.
    """
    x = np.asarray(vectors, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    rows = []
    for i in range(len(x)):
        if gallery is not None and gallery[i]:
            continue
        group = None if groups is None else groups[i]
        order = ranking(x[i], x, own=i, group=group, gallery_groups=groups, rooted=rooted)
        order = [j for j in order if gallery is None or gallery[j]]
        hits = [labels[j] == labels[i] for j in order]
        if any(hits):
            rows.append(_of_query(hits, ks))
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}, len(rows)


def _of_query(hits, ks):
    r = sum(hits)
    result = {f"recall@{k}": float(any(hits[:k])) for k in ks}
    result["r_precision"] = sum(hits[:r]) / r
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(r) if hits[i]]
    return result | {"map@r": sum(precisions) / r}
