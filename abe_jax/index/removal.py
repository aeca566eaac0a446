"""Which rows of an index a user means to take out."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import UserError
from abe_jax.index.snapshot import Snapshot


def held(found: Snapshot, ids: Sequence[int]) -> Int64[np.ndarray, " k"]:
    """The ids, rising. Raises UserError where the index does not hold one of them."""
    unknown = set(ids) - set(found.ids().tolist())  # as they were given: int64 holds not all
    if unknown:
        raise UserError(f"--ids {min(unknown)}: no image of {found.folder} has this id")
    return np.unique(np.array(ids, np.int64))


def at(found: Snapshot, paths: Sequence[str]) -> Int64[np.ndarray, " k"]:
    """The ids, rising, of the images at `paths` and below them.

    Raises:
        UserError: nothing of the index is at or below one of the paths.
    """
    named = {os.path.abspath(os.path.expanduser(path)): path for path in paths}
    ids, met = list[int](), set[str]()
    for id_, row in found.rows():
        above = {above for above in _with_parents(row.path) if above in named}
        ids += [id_] if above else []
        met |= above
    missing = [path for where, path in named.items() if where not in met]
    if missing:
        raise UserError(f"{shown(missing[0])}: neither an image of {found.folder} nor above one")
    return np.array(ids, np.int64)


def _with_parents(path: str) -> list[str]:
    found = [path]
    while found[-1] != os.path.dirname(found[-1]):
        found.append(os.path.dirname(found[-1]))
    return found
