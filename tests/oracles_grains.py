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


def holidays(x, objects):
    found = []
    for one in np.unique(objects):
        own = [i for i in range(len(x)) if objects[i] == one]
        if len(own) > 1:
            order = oracles.ranking(x[own[0]], x, own=own[0])
            found.append(trapezoid([objects[j] == one for j in order]))
    return np.mean(found), len(found)


def ukbench(x, objects):
    found = []
    for i in range(len(x)):
        if sum(o == objects[i] for o in objects) > 1:
            four = [i, *oracles.ranking(x[i], x, own=i)][:4]
            found.append(sum(objects[j] == objects[i] for j in four))
    return np.mean(found)
