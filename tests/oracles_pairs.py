"""The losses between images of a batch by definition: loops in float64, nothing shared with them.

Each takes vectors [b, m, d] or [b, d] and sums over learners; rows without a mask entry are gone.
"""

import math
from collections.abc import Callable

import numpy as np


def _summed_over_learners(one: Callable) -> Callable[..., float]:
    def of_all(vectors, labels, *, mask=None, **options):
        x = np.asarray(vectors, np.float64)
        x = x[:, None] if x.ndim == 2 else x
        here = np.ones(len(x), bool) if mask is None else np.asarray(mask)
        x, labels = x[here], np.asarray(labels)[here].tolist()
        learners = range(x.shape[1])
        given = {name: options.pop(name) for name in ("beta", "negatives") if name in options}
        return sum(
            one(x[:, p], labels, **{name: value[p] for name, value in given.items()}, **options)
            for p in learners
        )

    return of_all


def _mean(values):
    return sum(values) / len(values) if values else 0.0


def _ordered(labels, same):
    n = range(len(labels))
    return [(i, j) for i in n for j in n if i != j and (labels[i] == labels[j]) == same]


def _mined(x, labels, mining, apart):
    negatives = {i: [k for a, k in _ordered(labels, False) if a == i] for i in range(len(x))}
    positives = [(a, p) for a, p in _ordered(labels, True) if negatives[a]]
    if mining == "all":
        return [(a, p, n) for a, p in positives for n in negatives[a]]
    if mining == "batch_hard":
        return [
            (
                a,
                max((p for i, p in positives if i == a), key=lambda p: apart(a, p)),
                min(negatives[a], key=lambda n: apart(a, n)),
            )
            for a in sorted({a for a, _ in positives})
        ]
    found = []
    for a, p in positives:
        beyond = [n for n in negatives[a] if apart(a, n) > apart(a, p)]
        nearest = min(beyond, key=lambda n: apart(a, n), default=None)
        farthest = max(negatives[a], key=lambda n: apart(a, n))
        found.append((a, p, farthest if nearest is None else nearest))
    return found


@_summed_over_learners
def triplet(
    x, labels, *, mining="all", margin=0.2, soft=False, squared=False, reduction="mean_active"
):
    def apart(i, j):
        return math.dist(x[i], x[j]) ** (2 if squared else 1)

    terms = []
    for a, p, n in _mined(x, labels, mining, apart):
        difference = apart(a, p) - apart(a, n)
        terms.append(math.log1p(math.exp(difference)) if soft else max(difference + margin, 0.0))
    return _mean(terms if reduction == "mean" else [term for term in terms if term > 0])


@_summed_over_learners
def margin_loss(x, labels, *, beta=1.2, margin=0.2, negatives=None):
    positives = _ordered(labels, True)
    away = _ordered(labels, False)
    if negatives is not None:
        away = [(i, int(negatives[i, j])) for i, j in positives]
        away = [(i, n) for i, n in away if labels[i] != labels[n]]
    terms = [max(math.dist(x[i], x[j]) - beta + margin, 0.0) for i, j in positives]
    terms += [max(beta - math.dist(x[i], x[n]) + margin, 0.0) for i, n in away]
    return _mean([term for term in terms if term > 0])
