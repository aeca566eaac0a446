"""What a network predicts beside its embedding, by loops in float64: losses and pooling."""

import math

import numpy as np


def landmarks(predicted, points, mask=None):
    """The mean over images of the squared distances of visible landmarks, summed."""
    rows = present(len(points), mask)
    total = 0.0
    for i in rows:
        for k in range(len(points[i])):
            x, y, visible = points[i][k]
            if visible:
                total += (predicted[i][k][0] - x) ** 2 + (predicted[i][k][1] - y) ** 2
    return total / max(1, len(rows))


def visibility(logits, points, mask=None):
    rows = present(len(points), mask)
    total = 0.0
    for i in rows:
        for k in range(len(points[i])):
            total += negative_log_softmax(logits[i][k], 1 if points[i][k][2] else 0)
    return total / max(1, len(rows))


def category(logits, categories, mask=None):
    rows = present(len(categories), mask)
    return sum(negative_log_softmax(logits[i], categories[i]) for i in rows) / max(1, len(rows))


def attributes(logits, there, shares=None, mask=None):
    rows = present(len(there), mask)
    total = 0.0
    for i in rows:
        for a in range(len(there[i])):
            p = 1 / (1 + math.exp(-logits[i][a]))
            with_it = 0.5 if shares is None else 1 - float(shares[a])
            total -= with_it * math.log(p) if there[i][a] else (1 - with_it) * math.log(1 - p)
    return total / max(1, len(rows))


def pooled_at(maps, points, visible, window):
    """[b, k, c]: the maxima of window x window positions around each point."""
    _, height, width, channels = maps.shape
    found = np.zeros((*points.shape[:2], channels))
    for i in range(len(points)):
        for k in range(len(points[i])):
            if not visible[i][k]:
                continue
            column = min(max(math.floor(points[i][k][0] * width), 0), width - 1)
            row = min(max(math.floor(points[i][k][1] * height), 0), height - 1)
            first = -(window // 2)
            for c in range(channels):
                found[i, k, c] = max(
                    maps[i, row + r, column + s, c]
                    for r in range(first, first + window)
                    for s in range(first, first + window)
                    if 0 <= row + r < height and 0 <= column + s < width
                )
    return found


def negative_log_softmax(logits, at):
    return math.log(sum(math.exp(z) for z in logits)) - logits[at]


def present(rows, mask):
    return [i for i in range(rows) if mask is None or mask[i]]
