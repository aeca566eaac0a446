"""What the figures of instances and copies are by definition: loops over rankings in float64."""

import numpy as np
import oracles


def trapezoid(hits):
    """The area under precision against recall, from a list of right and wrong, nearest first."""
    right, area = sum(hits), 0.0
    for place, hit in enumerate(hits):
        if hit:
            earlier = sum(hits[:place])
            before = earlier / place if place else 1.0
            area += (before + (earlier + 1) / (place + 1)) / 2 / right
    return area


def holidays(x, object_ids):
    values = []
    for one in np.unique(object_ids):
        own = [i for i in range(len(x)) if object_ids[i] == one]
        if len(own) > 1:
            order = oracles.ranking(x[own[0]], x, own=own[0])
            values.append(trapezoid([object_ids[j] == one for j in order]))
    return np.mean(values), len(values)


def ukbench(x, object_ids):
    values = []
    for i in range(len(x)):
        if sum(o == object_ids[i] for o in object_ids) > 1:
            four = [i, *oracles.ranking(x[i], x, own=i)][:4]
            values.append(sum(object_ids[j] == object_ids[i] for j in four))
    return np.mean(values)
