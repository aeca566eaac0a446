"""Small sets that are divided into training and test persons at random, ten times.

Papers draw ten divisions and report the mean; which ones is not published (but of GRID, whose
authors hand theirs out). Here a division is a function of the set's name, its number and a person's
name: persons are ordered by the SHA-256 of these, on every machine alike.
"""

import hashlib
from collections.abc import Iterable, Sequence

DIVISIONS = 10
TRAIN, QUERY, GALLERY, UNUSED = range(4)  # what an image is in a division
Roles = tuple[int, ...]  # of one image, by division


def drawn(names: Iterable[str], of: str, division: int) -> list[str]:
    """The names in the order that a division of the data set `of` draws them in."""

    def place(name: str) -> bytes:
        return hashlib.sha256(f"{of} {division} {name}".encode()).digest()

    return sorted(names, key=place)


def trained(persons: Sequence[str], of: str, number: int) -> list[set[str]]:
    """Of each division the `number` persons whose images are for training."""
    return [set(drawn(persons, of, division)[:number]) for division in range(DIVISIONS)]


def roles(person: str, of_training: Sequence[set[str]], tested: int) -> Roles:
    """What the images of a person are in each division: for training, or else `tested`."""
    return tuple(TRAIN if person in persons else tested for persons in of_training)
