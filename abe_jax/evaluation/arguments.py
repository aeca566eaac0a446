"""What neighbours and metrics are given: numbers, or what becomes them, that fit each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float32, Int, Shaped

from abe_jax.errors import UserError

Codes = Shaped[np.ndarray | Array, "..."]  # labels or groups: one integer or name for each row
Ks = int | np.integer | Sequence[int] | Int[np.ndarray | Array, "..."]  # one K or several
Groups = tuple[Codes, Codes]  # of the queries and of the gallery's rows


def one_k(k: Any) -> int:
    """A number of neighbours. Raises UserError where it is no whole number."""
    x = np.asarray(k)
    if x.ndim or not np.issubdtype(x.dtype, np.integer):
        raise UserError(f"k = {k!r}: name one whole number of neighbours")
    return int(x)


def several_k(ks: Any) -> tuple[int, ...]:
    """One K or several. Raises UserError where they are no whole numbers."""
    x = np.asarray(() if ks is None else ks)
    if x.ndim > 1 or (x.size and not np.issubdtype(x.dtype, np.integer)):
        raise UserError(f"ks = {ks!r}: name one whole number of neighbours, or several")
    return tuple(x.ravel().tolist())


def float32(vectors: Any, what: str) -> Float32[np.ndarray, "..."]:
    """Vectors on the host. Raises UserError where they are no real numbers."""
    x = np.asarray(vectors)
    try:
        if np.iscomplexobj(x):
            raise TypeError
        with np.errstate(over="ignore"):  # what float32 has not is infinite, and refused as such
            return x.astype(np.float32, copy=False)
    except (TypeError, ValueError):
        raise UserError(f"{what} must be real numbers, not {x.dtype}") from None


def integers(codes: Any, n: int, what: str) -> Int[np.ndarray, " n"]:
    """An integer for each of n rows, as int64. Raises UserError where they are none."""
    x = np.asarray(codes)
    if x.shape != (n,):
        raise UserError(f"{what} of shape {x.shape} do not fit {n} vectors")
    if not np.issubdtype(x.dtype, np.integer):
        raise UserError(f"{what} must be integers, not {x.dtype}")
    return x.astype(np.int64)


def both_groups(groups: Any, q: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The groups of q queries and of n gallery rows. Raises UserError where they do not fit."""
    if not isinstance(groups, tuple | list) or len(groups) != 2:
        raise UserError("groups are a pair: those of the queries and those of the gallery's rows")
    of_queries, of_gallery = map(np.asarray, groups)
    if of_queries.shape != (q,) or of_gallery.shape != (n,):
        raise UserError(
            f"groups {of_queries.shape} and {of_gallery.shape} do not fit {q} queries and {n} "
            "gallery rows"
        )
    return of_queries, of_gallery
