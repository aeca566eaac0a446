"""The losses on cosines by definition: loops in float64, nothing shared with them.

Each takes vectors [b, m, d] or [b, d] and sums over learners; rows without a mask entry are gone.
"""

import math
from collections.abc import Callable

import numpy as np


def _unit(x):
    lengths = [math.hypot(*row) for row in x]
    return [row / length if length else row for row, length in zip(x, lengths, strict=True)]


def _summed_over_learners(one: Callable) -> Callable[..., float]:
    """`one` of unit vectors (a zero vector stays zero) and labels; with `weighed_at` of those of
    the vectors that give the weights, which have no gradient, as well."""

    def of_all(vectors, labels, *, mask=None, weighed_at=None, **options):
        here = np.ones(len(labels), bool) if mask is None else np.asarray(mask)
        labels = np.asarray(labels)[here].tolist()
        x, given = (
            np.asarray(a, np.float64)[here]
            for a in (vectors, vectors if weighed_at is None else weighed_at)
        )
        x, given = (a[:, None] if a.ndim == 2 else a for a in (x, given))
        total = 0.0
        for p in range(x.shape[1]):
            weights = {} if weighed_at is None else {"weighed_at": _unit(given[:, p])}
            total += one(_unit(x[:, p]), labels, **weights, **options)
        return total

    return of_all


def _mean(values):
    return sum(values) / len(values) if values else 0.0


def _cosine(u, i, j):
    return sum(float(a) * float(b) for a, b in zip(u[i], u[j], strict=True))


def _others(labels, i, same):
    """The rows other than i that have its label, or that have another."""
    return [j for j, own in enumerate(labels) if j != i and (own == labels[i]) == same]


@_summed_over_learners
def multi_similarity(u, labels, *, alpha=2.0, beta=50.0, base=0.5, mined=True, epsilon=0.1):
    terms = []
    for i in range(len(u)):
        near = [_cosine(u, i, j) for j in _others(labels, i, True)]
        far = [_cosine(u, i, k) for k in _others(labels, i, False)]
        positives, negatives = near, far
        if mined:
            positives = [s for s in near if any(s - epsilon < other for other in far)]
            negatives = [s for s in far if any(s + epsilon > other for other in near)]
        inner = sum(math.exp(-alpha * (s - base)) for s in positives)
        outer = sum(math.exp(beta * (s - base)) for s in negatives)
        terms.append(math.log1p(inner) / alpha + math.log1p(outer) / beta)
    return _mean(terms)


@_summed_over_learners
def circle(u, labels, *, margin=0.4, gamma=80.0, weighed_at=None):
    fixed, terms = u if weighed_at is None else weighed_at, []
    for i in range(len(u)):
        inner, outer = [], []
        for j in _others(labels, i, True):
            weight = max(1 + margin - _cosine(fixed, i, j), 0.0)
            inner.append(math.exp(-gamma * weight * (_cosine(u, i, j) - (1 - margin))))
        for k in _others(labels, i, False):
            weight = max(_cosine(fixed, i, k) + margin, 0.0)
            outer.append(math.exp(gamma * weight * (_cosine(u, i, k) - margin)))
        if inner and outer:
            terms.append(math.log1p(sum(inner) * sum(outer)))
    return _mean(terms)


@_summed_over_learners
def sup_con(u, labels, *, temperature=0.1):
    terms = []
    for i in range(len(u)):
        every = [math.exp(_cosine(u, i, a) / temperature) for a in range(len(u)) if a != i]
        own = [math.exp(_cosine(u, i, j) / temperature) for j in _others(labels, i, True)]
        if own:
            terms.append(_mean([-math.log(value / sum(every)) for value in own]))
    return _mean(terms)


@_summed_over_learners
def nt_xent(u, labels, *, temperature=0.1):
    terms = []
    for i in range(len(u)):
        far = sum(math.exp(_cosine(u, i, k) / temperature) for k in _others(labels, i, False))
        for j in _others(labels, i, True):
            own = math.exp(_cosine(u, i, j) / temperature)
            terms.append(-math.log(own / (own + far)))
    return _mean(terms)


def _step(difference, temperature):
    """The sigmoid, as a tangent, which does not overflow."""
    return (1 + math.tanh(difference / temperature / 2)) / 2


def _rank(u, query, j, rows, temperature):
    """The rank of row j by its cosine to the query, of the rows and itself."""
    own = _cosine(u, query, j)
    return 1 + sum(_step(_cosine(u, query, k) - own, temperature) for k in rows if k != j)


@_summed_over_learners
def smooth_ap(u, labels, *, temperature=0.01, includes_query=False):
    terms = []
    for i in range(len(u)):
        itself = [i] if includes_query else []
        positives = _others(labels, i, True)
        if positives:
            found = positives + itself
            ranked = found + _others(labels, i, False)
            precisions = [
                _rank(u, i, j, found, temperature) / _rank(u, i, j, ranked, temperature)
                for j in found
            ]
            terms.append(1 - _mean(precisions))
    return _mean(terms)


@_summed_over_learners
def recall_at_k(
    u,
    labels,
    *,
    ks=(1, 2, 4, 8, 16),
    temperatures=(),
    rank_temperature=0.01,
    includes_query=False,
):
    terms = []
    for i in range(len(u)):
        positives = _others(labels, i, True)
        ranked = [j for j in range(len(u)) if j != i or includes_query]
        ranks = [_rank(u, i, j, ranked, rank_temperature) for j in positives]
        for k, temperature in zip(ks, temperatures or ks, strict=True):
            inside = sum(_step(k - rank, temperature) for rank in ranks)
            if positives:
                terms.append(1 - min(inside, k) / min(len(positives), k))
    return _mean(terms)


@_summed_over_learners
def fast_ap(u, labels, *, bins=10):
    width, terms = 4 / bins, []
    for i in range(len(u)):
        positives, negatives = (_others(labels, i, same) for same in (True, False))
        precision = found = ranked = 0.0
        for centre in (width * step for step in range(bins + 1)):
            own, other = (
                sum(max(1 - abs(math.dist(u[i], u[j]) ** 2 - centre) / width, 0.0) for j in rows)
                for rows in (positives, negatives)
            )
            found, ranked = found + own, ranked + own + other
            precision += own * found / ranked if ranked else 0.0
        if positives:
            terms.append(1 - precision / len(positives))
    return _mean(terms)
