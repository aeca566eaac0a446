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


def _compared(proxies, labels, mask, subsample, compared, centres=1):
    """The classes of a softmax: those that are said, with a subsample the batch's own, or all."""
    if compared is None and subsample:
        own = {int(y) for i, y in enumerate(labels) if mask is None or mask[i]}
        assert len(own) >= subsample or not own, "what is drawn must be said"
        compared = own
    elif compared is None:
        compared = range(len(proxies[0]) // centres)
    return compared


def norm_softmax(
    proxies, vectors, labels, *, temperature=0.05, subsample=0, compared=None, mask=None
):
    """`compared`: the classes of the softmax, where they are not the batch's own or all."""
    compared = _compared(proxies, labels, mask, subsample, compared)

    def term(p, x, y):
        def score(z):
            return _dot(_unit(x), _unit(proxies[p][z])) / temperature

        return _logarithm_of_sum([score(z) for z in compared]) - score(y)

    return _mean_over_rows(term, vectors, labels, mask)


def _with_own(own, others):
    """Cross-entropy of a softmax over the own score and those of others."""
    return _logarithm_of_sum([own, *others]) - own


def cos_face(
    proxies, vectors, labels, *, margin=0.35, scale=64.0, subsample=0, compared=None, mask=None
):
    compared = _compared(proxies, labels, mask, subsample, compared)

    def term(p, x, y):
        def cosine(z):
            return _dot(_unit(x), _unit(proxies[p][z]))

        others = [scale * cosine(z) for z in compared if z != y]
        return _with_own(scale * (cosine(y) - margin), others)

    return _mean_over_rows(term, vectors, labels, mask)


def arc_face(
    proxies,
    vectors,
    labels,
    *,
    margin=0.5,
    scale=64.0,
    centres=1,
    subsample=0,
    compared=None,
    mask=None,
):
    compared = _compared(proxies, labels, mask, subsample, compared, centres)

    def term(p, x, y):
        def angle(z):
            each = [_dot(_unit(x), _unit(proxies[p][z * centres + k])) for k in range(centres)]
            return math.acos(max(-1.0, min(1.0, max(each))))

        own = math.cos(angle(y) + margin)
        if angle(y) + margin > math.pi:
            own = math.cos(angle(y)) - margin * math.sin(margin)
        return _with_own(scale * own, [scale * math.cos(angle(z)) for z in compared if z != y])

    return _mean_over_rows(term, vectors, labels, mask)


def proxy_anchor(
    proxies, vectors, labels, *, margin=0.1, scale=32.0, subsample=0, compared=None, mask=None
):
    compared = _compared(proxies, labels, mask, subsample, compared)
    x = np.asarray(vectors, np.float64)
    x = x[:, None] if x.ndim == 2 else x
    here = [i for i in range(len(x)) if mask is None or mask[i]]
    total = 0.0
    for p in range(x.shape[1]):
        pulls, pushes = [], []
        for z in compared:
            cosines = [(int(labels[i]), _dot(_unit(x[i, p]), _unit(proxies[p][z]))) for i in here]
            positive = [math.exp(-scale * (cosine - margin)) for y, cosine in cosines if y == z]
            negative = [math.exp(scale * (cosine + margin)) for y, cosine in cosines if y != z]
            if positive:
                pulls.append(math.log1p(sum(positive)))
            pushes.append(math.log1p(sum(negative)))
        total += sum(each / len(part) for part in (pulls, pushes) for each in part)
    return total


def soft_triple(
    proxies,
    vectors,
    labels,
    *,
    centres=10,
    scale=20.0,
    gamma=0.1,
    margin=0.01,
    tau=0.2,
    subsample=0,
    compared=None,
    mask=None,
):
    compared = _compared(proxies, labels, mask, subsample, compared, centres)

    def of(p, z):
        return [_unit(proxies[p][z * centres + k]) for k in range(centres)]

    def term(p, x, y):
        def similarity(z):
            each = [_dot(_unit(x), w) for w in of(p, z)]
            shares = [math.exp((value - max(each)) / gamma) for value in each]
            return _dot(shares, each) / sum(shares)

        others = [scale * similarity(z) for z in compared if z != y]
        return _with_own(scale * (similarity(y) - margin), others)

    if mask is not None and not any(mask):
        return 0.0
    spread = 0.0
    if centres > 1:
        for p in range(len(proxies)):
            for w in (of(p, z) for z in compared):
                pairs = [(i, j) for j in range(centres) for i in range(j)]
                spread += sum(math.dist(w[i], w[j]) for i, j in pairs)
        spread /= len(compared) * centres * (centres - 1)
    return _mean_over_rows(term, vectors, labels, mask) + tau * spread


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
