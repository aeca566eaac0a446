"""The search of nearest rows by any distance, in bounded memory, with one rule for ties."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Float64, Int, Shaped

from abe_jax import hosts
from abe_jax.errors import UserError
from abe_jax.evaluation.arguments import Groups, both_groups
from abe_jax.evaluation.chunks import (
    Distance,
    Nearest,
    Rows,
    merged,
    padded,
)
from abe_jax.evaluation.frame import Frame
from abe_jax.evaluation.order import NO_ROW

BLOCK = 256  # queries at once: of 256 to 2048 the least work on two CPU cores
DISTANCES_AT_ONCE = (
    2**25
)  # distances held at once (128 MiB in float32) bound a gallery chunk's length
# Whole tiles of a matrix product, so that equal vectors get equal distances wherever they stand.
QUERY_TILE, GALLERY_TILE = 8, 128


class ExactVectors(NamedTuple):
    """The vectors whose exact distances count, of a search that compares them in a frame."""

    queries: Float32[np.ndarray, "m q d"]
    gallery: Float32[np.ndarray, "m n d"]
    frame: Frame
    # Squared, of the moved queries and of the moved gallery rows, as float32 has them
    lengths: tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " n"]]
    rooted: bool  # by the mean over learners of distances, not by a squared distance


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """Queries on the host and a gallery on this host's devices, ready for `blocks`.

    By exact distances, or with `exact_vectors` by the least that these can be. Chunk i of the
    gallery lies on device i modulo their number: each has a share.
    """

    queries: Rows
    gallery: tuple[Rows, ...]
    devices: tuple[Any, ...]
    groups: Int[np.ndarray, " n"]  # of the gallery's rows
    block: int
    distance: Distance
    exact_vectors: ExactVectors | None = None
    light: bool = False  # the distance of a few rows is sooner computed again than kept and found


def check_k(k: int, size: int) -> None:
    """Raises UserError unless 1 <= k <= size, the number of neighbours a query can have."""
    if not 1 <= k <= size:
        raise UserError(f"k = {k} neighbours asked of a gallery that holds {size}: use 1 to {size}")


def prepared_search(
    queries: Shaped[np.ndarray, "m q d"],
    gallery: Shaped[np.ndarray, "m n d"],
    distance: Distance,
    *,
    exclude_self: bool,
    groups: Groups | None = None,
    block: int,
) -> Search:
    """Puts the gallery on this host's devices, chunk by chunk, for a search by any distance.

    `groups` are those of the queries and those of the gallery's rows.
    Raises UserError where the groups, the block or `exclude_self` do not fit.
    """
    number, n = queries.shape[1], gallery.shape[1]
    if block < 1:
        raise UserError(f"block = {block}: use 1 or more queries at once")
    if exclude_self and number != n:
        raise UserError("exclude_self needs the queries to be the gallery's rows, one for one")
    q_groups, g_groups = _group_codes(groups, number, n)
    own = np.arange(number, dtype=np.int32) if exclude_self else np.full(number, -2, np.int32)
    block = _round_up(min(block, number), QUERY_TILE)
    devices = _devices()
    chunks = _chunks(gallery, g_groups, block, devices)
    return Search(
        queries=Rows(queries, own, q_groups),
        gallery=chunks,
        devices=devices[: len(chunks)],
        groups=g_groups,
        block=block,
        distance=distance,
    )


def blocks(search: Search, rows: Int[np.ndarray, " q"], k: int) -> Iterator[tuple[slice, Nearest]]:
    """The k nearest of the queries `rows`, block by block, each with its place in `rows`."""
    for at, queries in query_blocks(search, rows):
        best = best_of(queries, search.gallery, k, search.distance, search.devices, search.light)
        yield at, Nearest(*(part[: at.stop - at.start] for part in best))


def best_of(
    queries: Rows,
    chunks: Iterable[Rows],
    k: int,
    distance: Distance,
    devices: Sequence[Any],
    light: bool = False,
) -> Nearest:
    """The k nearest of one block of queries among all chunks, on the host.

    Each chunk is compared on the device whose turn it is and merged into the best that this device
    has seen. A device has one chunk at a time, and the next is made ready meanwhile: chunks may
    come from a file larger than memory. Their ids rise from chunk to chunk.
    """
    shape = (len(queries.ids), k)
    empty = Nearest(np.full(shape, np.inf, np.float32), np.full(shape, NO_ROW, np.int32))
    copies = [jax.device_put(queries, device) for device in devices]
    best = [jax.device_put(empty, device) for device in devices]
    for chunk, at in zip(chunks, itertools.cycle(range(len(devices))), strict=False):
        moved = jax.device_put(chunk, devices[at])
        jax.block_until_ready(best[at])
        best[at] = merged(best[at], copies[at], moved, distance=distance, light=light)
    return _united([Nearest(*map(np.asarray, nearest)) for nearest in best])


def _united(lists: Sequence[Nearest]) -> Nearest:
    """The best of several devices' lists, by the rule of `_merge`; what is no row comes last."""
    if len(lists) == 1:
        return lists[0]
    distances, indices = (np.concatenate(parts, axis=1) for parts in zip(*lists, strict=True))
    order = np.lexsort((indices, distances))[:, : lists[0].indices.shape[1]]
    return Nearest(*(np.take_along_axis(part, order, axis=1) for part in (distances, indices)))


def query_blocks(search: Search, rows: Int[np.ndarray, " q"]) -> Iterator[tuple[slice, Rows]]:
    """The queries `rows` in blocks of one length, the last one padded, with their places in it."""
    own = search.queries
    for start in range(0, len(rows), search.block):
        hosts.at_work()
        chosen = rows[start : start + search.block]
        queries = Rows(own.vectors[:, chosen], own.ids[chosen], own.groups[chosen])
        yield slice(start, start + len(chosen)), padded(queries, search.block)


def _group_codes(groups: Groups | None, q: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups as small integers; without groups, codes of which no query's is a gallery row's."""
    if groups is None:
        return np.full(q, -1, np.int32), np.full(n, -2, np.int32)
    both = np.concatenate(both_groups(groups, q, n))
    codes = np.unique(both, return_inverse=True)[1].astype(np.int32)
    return codes[:q], codes[q:]


def _devices() -> tuple[Any, ...]:
    """The devices that a gallery is spread over: this host's, or the one that the user named.

    By name also where JAX would take them by itself: in another thread it could take another.
    """
    named = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if named is not None:
        return tuple(jax.device_put(0).devices())
    return tuple(jax.local_devices())


def _chunks(
    vectors: np.ndarray, groups: np.ndarray, block: int, devices: Sequence[Any]
) -> tuple[Rows, ...]:
    """The gallery in equal chunks, so that one compiled program serves them all.

    Their number is a multiple of the devices', unless there are fewer tiles than that.
    """
    n = vectors.shape[1]
    number = -(-n // max(DISTANCES_AT_ONCE // block, GALLERY_TILE))
    number = min(_round_up(number, len(devices)), -(-n // GALLERY_TILE))
    length = _round_up(-(-n // number), GALLERY_TILE)
    ids = np.arange(n, dtype=np.int32)
    parts = (slice(start, start + length) for start in range(0, n, length))
    return tuple(
        jax.device_put(padded(Rows(vectors[:, p], ids[p], groups[p]), length), device)
        for p, device in zip(parts, itertools.cycle(devices), strict=False)
    )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
