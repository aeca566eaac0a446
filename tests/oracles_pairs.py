"""The losses between images of a batch by definition: loops in float64, nothing shared with them.

Each takes vectors [b, m, d] or [b, d] and sums over learners; rows without a mask entry are gone.
"""

import collections
import itertools
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


def _mined(x, labels, mining, distance):
    negatives = {i: [k for a, k in _ordered(labels, False) if a == i] for i in range(len(x))}
    positives = [(a, p) for a, p in _ordered(labels, True) if negatives[a]]
    if mining == "all":
        return [(a, p, n) for a, p in positives for n in negatives[a]]
    if mining == "batch_hard":
        return [
            (
                a,
                max((p for i, p in positives if i == a), key=lambda p: distance(a, p)),
                min(negatives[a], key=lambda n: distance(a, n)),
            )
            for a in sorted({a for a, _ in positives})
        ]
    triplets = []
    for a, p in positives:
        beyond = [n for n in negatives[a] if distance(a, n) > distance(a, p)]
        nearest = min(beyond, key=lambda n: distance(a, n), default=None)
        farthest = max(negatives[a], key=lambda n: distance(a, n))
        triplets.append((a, p, farthest if nearest is None else nearest))
    return triplets


@_summed_over_learners
def triplet(
    x, labels, *, mining="all", margin=0.2, soft=False, squared=False, reduction="mean_active"
):
    def distance(i, j):
        return math.dist(x[i], x[j]) ** (2 if squared else 1)

    terms = []
    for a, p, n in _mined(x, labels, mining, distance):
        difference = distance(a, p) - distance(a, n)
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


@_summed_over_learners
def lifted_structure(x, labels, *, margin=1.0):
    n, terms = range(len(x)), []
    for i, j in _ordered(labels, True):
        far = [
            math.exp(margin - math.dist(x[end], x[k]))
            for end in (i, j)
            for k in n
            if labels[k] != labels[end]
        ]
        value = math.log(sum(far)) + math.dist(x[i], x[j]) if far else 0.0
        terms.append(max(value, 0.0) ** 2)
    return _mean(terms) / 2  # both orders of a pair, so that the mean is that over unordered ones


@_summed_over_learners
def n_pairs(x, labels, *, length_weight=0.0):
    chosen = []
    for label in dict.fromkeys(labels):
        rows = [i for i, own in enumerate(labels) if own == label]
        chosen += [rows[:2]] if len(rows) > 1 else []
    terms = []
    for anchor, positive in chosen:
        others = [float(x[anchor] @ (x[p] - x[positive])) for _, p in chosen]
        terms.append(math.log(sum(math.exp(other) for other in others)))
    return _mean(terms) + length_weight * _mean([float(x[i] @ x[i]) for c in chosen for i in c])


def _cosine(x, y):
    lengths = math.hypot(*x) * math.hypot(*y)
    return sum(a * b for a, b in zip(x, y, strict=True)) / lengths if lengths else 0.0


def boosted(
    vectors,
    labels,
    *,
    slope=2.0,
    threshold=0.5,
    cost=25.0,
    start=0.5,
    shrinkage=0.06,
    negative_boost=2.0,
    accumulate="sum",
    weighed_at=None,
    mask=None,
):
    """`weighed_at`: the vectors that give the weights, which have no gradient."""
    here = [i for i in range(len(labels)) if mask is None or mask[i]]
    x = np.asarray(vectors, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    given = x if weighed_at is None else np.asarray(weighed_at, np.float64)
    same = [labels[i] == labels[j] for i in here for j in here]  # a row and itself as well
    number = {True: sum(same), False: len(same) - sum(same)}
    learners, total = x.shape[1], 0.0
    for i, j in itertools.permutations(here, 2):
        positive = bool(labels[i] == labels[j])
        sign, account, weight = 1.0 if positive else -cost, start, 1.0
        for p in range(learners):
            z = slope * (_cosine(x[i, p], x[j, p]) - threshold) * sign
            total += weight * math.log1p(math.exp(-z)) / number[positive] / learners
            z = slope * (_cosine(given[i, p], given[j, p]) - threshold) * sign
            nu = 2 / (2 + p)
            account = {
                "sum": account + shrinkage * z,
                "average": (1 - nu) * account + nu * z,
            }[accumulate]
            weight = 1 / (1 + math.exp(account)) * (1.0 if positive else negative_boost)
    return total


def information(left, right):
    """NMI from the table of both clusterings."""
    n = len(left)
    table, ours, theirs = (
        collections.Counter(of) for of in (zip(left, right, strict=True), left, right)
    )
    mutual = sum(k / n * math.log(n * k / (ours[a] * theirs[b])) for (a, b), k in table.items())
    entropies = [-sum(k / n * math.log(k / n) for k in c.values()) for c in (ours, theirs)]
    if all(entropies):
        return mutual / math.sqrt(math.prod(entropies))
    return 0.0 if any(entropies) else 1.0


def _clustered(x, labels, medoids, margin):
    """F + margin (1 - NMI), and the clustering."""
    nearest = [
        i if i in medoids else min(medoids, key=lambda j: math.dist(x[i], x[j]))
        for i in range(len(x))
    ]
    cost = sum(math.dist(x[i], x[j]) for i, j in enumerate(nearest))
    return margin * (1 - information(nearest, labels)) - cost, nearest


def _sought(x, labels, margin, sweeps, exchange):
    def score(medoids):
        return _clustered(x, labels, medoids, margin)[0]

    medoids, n, classes = [], range(len(x)), len(set(labels))
    for _ in range(classes):
        medoids.append(max((i for i in n if i not in medoids), key=lambda i: score([*medoids, i])))
    for _ in range(sweeps):
        first = list(medoids)
        begun = _clustered(x, labels, first, margin)[1]
        for slot in range(classes):
            nearest = begun if exchange == "fixed" else _clustered(x, labels, medoids, margin)[1]
            owner = first[slot] if exchange == "fixed" else medoids[slot]
            cluster = [i for i in n if nearest[i] == owner]
            best = -math.inf
            for i in cluster:
                tried = [*medoids[:slot], i, *medoids[slot + 1 :]]
                value = score(tried)
                if exchange == "fixed":
                    clustering = _clustered(x, labels, tried, margin)[1]
                    value = margin * (1 - information(clustering, labels))
                    value -= sum(math.dist(x[i], x[j]) for j in cluster)
                if value > best:
                    best, chosen = value, tried
            medoids = chosen
    return score(medoids)


@_summed_over_learners
def clustering(x, labels, *, margin=1.0, sweeps=1, exchange="anew", exhaustive=False):
    if not labels:
        return 0.0
    rows, own = range(len(x)), 0.0
    for label in set(labels):
        members = [i for i in rows if labels[i] == label]
        own -= min(sum(math.dist(x[i], x[j]) for i in members) for j in members)
    if exhaustive:
        every = itertools.combinations(rows, len(set(labels)))
        best = max(_clustered(x, labels, medoids, margin)[0] for medoids in every)
    else:
        best = _sought(x, labels, margin, sweeps, exchange)
    return max(best - own, 0.0)


def hard_share(
    vectors,
    labels,
    *,
    shares=(1.0, 0.5, 0.2),
    negative_weight=10.0,
    margin=1.0,
    cascade=False,
    mask=None,
):
    x = np.asarray(vectors, np.float64)
    here = np.ones(len(x), bool) if mask is None else np.asarray(mask)
    x, labels = x[here], np.asarray(labels)[here].tolist()
    left: dict[bool, list] = {}
    total = 0.0
    for head, share in enumerate(shares):
        terms = []
        for same in (True, False):
            every = [(i, j) for i, j in _ordered(labels, same) if i < j]
            squared = {(i, j): math.dist(x[i, head], x[j, head]) ** 2 for i, j in every}
            sign = -1 if same else 1
            grid = {pair: sign * round(d * 2**16) for pair, d in squared.items()}
            candidates = sorted(left.get(same, every)) if cascade else every
            left[same] = sorted(candidates, key=lambda pair, grid=grid: grid[pair])[
                : math.ceil(round(share * len(every), 6))
            ]
            kept = [squared[pair] for pair in left[same]]
            terms += kept if same else [negative_weight * max(margin - d, 0) for d in kept]
        total += sum(terms) / max(sum(term > 1e-6 for term in terms), 1)
    return total
