"""Grows an index in many steps, each of which a test knows (not a test).

Usage: index_growing.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from index_examples import MODEL, drawn, named

from abe_jax import index

STEPS, ROWS, EVERY = 100, 100, 10  # of every tenth step the first rows of ten go


def rows() -> np.ndarray:
    """Every vector that is ever added, by its id."""
    return drawn(STEPS * ROWS, 2, 8, seed=5)


def removed(step: int) -> np.ndarray:
    """The ids that go after a step."""
    if step % EVERY != EVERY - 1:
        return np.zeros(0, np.int64)
    return np.arange((step - EVERY + 1) * ROWS, (step + 1) * ROWS, 3)


def states() -> list[np.ndarray]:
    """The ids of every state that there ever is, in order; the first is the empty index."""
    now, every = np.zeros(0, np.int64), [np.zeros(0, np.int64)]
    for step in range(STEPS):
        now = np.concatenate([now, np.arange(step * ROWS, (step + 1) * ROWS)])
        every.append(now)
        if len(removed(step)):
            now = np.setdiff1d(now, removed(step))
            every.append(now)
    return every


if __name__ == "__main__":
    folder, vectors = Path(sys.argv[1]), rows()
    for step in range(STEPS):
        ids = range(step * ROWS, (step + 1) * ROWS)
        index.add(folder, vectors[ids.start : ids.stop], named(ids), MODEL)
        if len(removed(step)):
            index.remove(folder, removed(step))
