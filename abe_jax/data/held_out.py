"""Images of the training classes that training never sees: what its classifier is measured on."""

import dataclasses
import hashlib

import numpy as np
from jaxtyping import Int

from abe_jax.data.split import Split, chosen
from abe_jax.errors import ArgumentError

# The split's name. Runs have it in evaluation.json and commands in --split, so it stays as it is.
HELD_OUT = "held"


def part(train: Split, share: float, name: str) -> Split:
    """The training images without those held out, or (`name` is HELD_OUT) these alone.

    Of a class of n images the round(share * n) that come last by the SHA-256 of their names (of a
    set without names: of their rows) are held out, but never the only one left. Classes keep their
    numbers, so some may have no image that is held out.

    Raises:
        ArgumentError: no image of any class would be held out.
    """
    held_out = np.zeros(len(train.labels), bool)
    names = train.paths or tuple(map(str, range(len(train.labels))))
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    order = sorted(range(len(names)), key=lambda row: (train.labels[row], digests[row]))
    for rows in np.split(order, np.flatnonzero(np.diff(train.labels[order])) + 1):
        count = min(len(rows) - 1, int(share * len(rows) + 0.5))
        held_out[rows[len(rows) - count :]] = True
    if not held_out.any():
        raise ArgumentError(
            "held_out",
            f"{share} would hold out no image of any training class; {_remedy(train.labels)}",
        )
    rows = np.flatnonzero(held_out if name == HELD_OUT else ~held_out)
    return dataclasses.replace(chosen(train, rows), name=name)


def _remedy(labels: Int[np.ndarray, " n"]) -> str:
    largest = np.bincount(labels).max()
    if largest == 1:
        return "every class has one image, which has to stay: set it to 0"
    least = 0.5 / largest + 5e-4  # rounded to 3 digits it still is enough
    return f"{least:.3f} holds out one of the largest class"
