"""Removes images from an index, named as a user names them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from abe_jax.data.sources.csv_file import shown
from abe_jax.errors import ArgumentError, UserError
from abe_jax.index import store
from abe_jax.index.snapshot import Snapshot, read


def remove_images(folder: Path, paths: Sequence[str], ids: Sequence[int]) -> int:
    """Removes images of the index in `folder` as `Index.remove` does; needs no network."""
    now = read(folder)
    chosen = [existing_ids(now, ids), ids_below(now, paths)]
    return store.remove(folder, np.concatenate(chosen))


def existing_ids(snapshot: Snapshot, ids: Sequence[int]) -> Int64[np.ndarray, " k"]:
    """The ids, rising. Raises ArgumentError where the index does not hold one of them."""
    unknown = set(ids) - set(snapshot.ids().tolist())  # as they were given: int64 holds not all
    if unknown:
        raise ArgumentError("ids", f"{min(unknown)} is the id of no image of {snapshot.folder}")
    return np.unique(np.array(ids, np.int64))


def ids_below(snapshot: Snapshot, paths: Sequence[str]) -> Int64[np.ndarray, " k"]:
    """The ids, rising, of the images at `paths` and below them.

    Raises:
        UserError: nothing of the index is at or below one of the paths.
    """
    if not paths:
        return np.zeros(0, np.int64)
    named = {os.path.abspath(os.path.expanduser(path)): path for path in paths}
    ids, met = list[int](), set[str]()
    for id_, row in snapshot.rows():
        above = {above for above in _with_parents(row.path) if above in named}
        ids += [id_] if above else []
        met |= above
    missing = [path for absolute, path in named.items() if absolute not in met]
    if missing:
        raise UserError(f"{shown(missing[0])}: neither an image of {snapshot.folder} nor above one")
    return np.array(ids, np.int64)


def _with_parents(path: str) -> list[str]:
    paths = [path]
    while paths[-1] != os.path.dirname(paths[-1]):
        paths.append(os.path.dirname(paths[-1]))
    return paths
