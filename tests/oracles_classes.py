"""What the losses with a parameter for each class are by definition: loops in float64."""

import math

import numpy as np


def _unit(x):
    length = math.sqrt(sum(float(a) ** 2 for a in x))
    return [float(a) / length if length else 0.0 for a in x]


def _dot(x, y):
    return sum(float(a) * float(b) for a, b in zip(x, y, strict=True))


def _logarithm_of_sum(values):
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _mean_over_rows(term, vectors, labels, mask):
    """term(learner, vector, class) over the rows that are there: mean, summed over learners."""
    x = np.asarray(vectors, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    here = [i for i in range(len(x)) if mask is None or mask[i]]
    if not here:
        return 0.0
    learners = range(x.shape[1])
    return sum(sum(term(p, x[i, p], int(labels[i])) for i in here) / len(here) for p in learners)


def proxy_nca(proxies, vectors, labels, *, scale=3.0, mask=None):
    def squared(p, x, z):
        a, b = _unit(x), _unit(proxies[p][z])
        return sum((scale * i - scale * j) ** 2 for i, j in zip(a, b, strict=True))

    def term(p, x, y):
        others = [-squared(p, x, z) for z in range(len(proxies[p])) if z != y]
        return squared(p, x, y) + (_logarithm_of_sum(others) if others else 0.0)

    return _mean_over_rows(term, vectors, labels, mask)


def norm_softmax(
    proxies, vectors, labels, *, temperature=0.05, subsample=0, compared=None, mask=None
):
    """`compared`: the classes of the softmax, where they are not the batch's own or all."""
    if compared is None and subsample:
        own = {int(y) for i, y in enumerate(labels) if mask is None or mask[i]}
        assert len(own) >= subsample or not own, "what is drawn must be said"
        compared = own
    elif compared is None:
        compared = range(len(proxies[0]))

    def term(p, x, y):
        def score(z):
            return _dot(_unit(x), _unit(proxies[p][z])) / temperature

        return _logarithm_of_sum([score(z) for z in compared]) - score(y)

    return _mean_over_rows(term, vectors, labels, mask)


def cross_entropy(kernel, bias, vectors, labels, *, smoothing=0.0, smoothed="all", mask=None):
    classes = range(np.shape(bias)[-1])

    def term(p, x, y):
        logits = [_dot(x, kernel[p][:, z]) + float(bias[p][z]) for z in classes]
        total = _logarithm_of_sum(logits)
        share = [smoothing / len(classes) + (1 - smoothing) * (z == y) for z in classes]
        if smoothed == "others":
            rest = smoothing / max(len(classes) - 1, 1)
            share = [1 - smoothing if z == y else rest for z in classes]
        return -sum(t * (logit - total) for t, logit in zip(share, logits, strict=True))

    return _mean_over_rows(term, vectors, labels, mask)
