"""The losses over domains by definition: loops in float64, nothing shared with them.

Each takes vectors [b, m, d] or [b, d] and sums over learners; rows without a mask entry are gone.
"""

import math

import numpy as np


def _kept(vectors, mask, *rows):
    x = np.asarray(vectors, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    here = np.ones(len(x), bool) if mask is None else np.asarray(mask)
    return x[here], *(np.asarray(row)[here].tolist() for row in rows)


def _cosine(x, y):
    lengths = math.hypot(*x) * math.hypot(*y)
    return sum(a * b for a, b in zip(x, y, strict=True)) / lengths if lengths else 0.0


def _unit(x):
    length = math.hypot(*x)
    return [float(a) / length if length else 0.0 for a in x]


def scatter(vectors, domains, *, mask=None):
    x, domains = _kept(vectors, mask, domains)
    total = 0.0
    for p in range(x.shape[1]):
        of_domains = []
        for domain in sorted(set(domains)):
            rows = [_unit(x[i, p]) for i, own in enumerate(domains) if own == domain]
            centroid = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
            of_domains.append(sum(_cosine(row, centroid) for row in rows) / len(rows))
        total += sum(of_domains) / len(of_domains) if of_domains else 0.0
    return total


def shuffle(vectors, labels, domains, *, mask=None):
    x, labels, domains = _kept(vectors, mask, labels, domains)
    n, total = range(len(x)), 0.0
    for p in range(x.shape[1]):
        terms = []
        for a in n:
            away = [math.dist(x[a, p], x[i, p]) for i in n if domains[i] != domains[a]]
            near = [
                math.dist(x[a, p], x[i, p])
                for i in n
                if domains[i] == domains[a] and labels[i] != labels[a]
            ]
            if away and near:
                terms.append(math.log1p(math.exp(max(away) - min(near))))
        total += sum(terms) / len(terms) if terms else 0.0
    return total
