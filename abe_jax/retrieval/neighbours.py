"""Exact nearest neighbours in bounded memory: blocks of queries against chunks of the gallery."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from abe_jax.errors import UserError

BLOCK = 256  # queries at once: of 256 to 2048 the least work on two CPU cores
PLANE = 2**25  # distances held at once (128 MiB in float32) bound a gallery chunk's length
# Whole tiles of a matrix product, so that equal vectors get equal distances wherever they stand.
QUERY_TILE, GALLERY_TILE = 8, 128
NOBODY = -1  # id of padding, and the index given where a query has too few neighbours
ENSEMBLES = ("concatenation", "mean_distance")

Vectors = Float[np.ndarray | Array, "_ ... _"]  # [n, d] or [n, m, d]


class Rows(NamedTuple):
    """Vectors of m learners with the row each came from and the group it belongs to."""

    vectors: Float[np.ndarray | Array, "m n d"]
    ids: Int[np.ndarray | Array, " n"]
    groups: Int[np.ndarray | Array, " n"]


class Found(NamedTuple):
    """The best neighbours so far, nearest first."""

    distances: Float[np.ndarray | Array, "q k"]
    indices: Int[np.ndarray | Array, "q k"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """Queries on the host and a gallery on the device, ready for `blocks`."""

    queries: Rows
    gallery: tuple[Rows, ...]
    block: int
    rooted: bool  # mean over learners of unsquared distances, instead of the sum of squared ones


def nearest(
    queries: Vectors,
    gallery: Vectors,
    k: int,
    *,
    ensemble: str = "concatenation",
    exclude_self: bool = False,
    query_groups: Shaped[np.ndarray | Array, "..."] | None = None,
    gallery_groups: Shaped[np.ndarray | Array, "..."] | None = None,
    block: int = BLOCK,
) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The k nearest gallery rows of every query: distances and indices [q, k], nearest first.

    `queries` and `gallery` are [n, d] or [n, m, d]. `ensemble="concatenation"` ranks by the squared
    Euclidean distance of the concatenated learners (for unit vectors: by their mean cosine),
    `"mean_distance"` by the mean over learners of the unsquared distance. Equal distances rank by
    gallery index. `exclude_self`: row i of the queries is row i of the gallery and not its own
    neighbour. With groups, gallery rows of the query's own group do not count. Where fewer than k
    neighbours are left, the index is -1 and the distance infinite.

    Exact: every distance is computed, in float32 with full-precision products, as
    |q|^2 + |g|^2 - 2 q.g, at most `block` (rounded up to 8) times 2^25 / `block` of them at once.
    Raises UserError where shapes do not fit, k exceeds the gallery, or a vector is not finite.
    """
    search = prepare(
        queries,
        gallery,
        ensemble=ensemble,
        exclude_self=exclude_self,
        query_groups=query_groups,
        gallery_groups=gallery_groups,
        block=block,
    )
    check_k(k, len(gallery) - exclude_self)
    found = [best for _, best in blocks(search, np.arange(len(queries)), k)]
    distances, indices = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return distances, indices


def check_k(k: int, size: int) -> None:
    """Raises UserError unless 1 <= k <= size, the number of neighbours a query can have."""
    if not 1 <= k <= size:
        raise UserError(f"k = {k} neighbours asked of a gallery that holds {size}: use 1 to {size}")


def prepare(
    queries: Vectors,
    gallery: Vectors,
    *,
    ensemble: str,
    exclude_self: bool,
    query_groups: Shaped[np.ndarray | Array, "..."] | None,
    gallery_groups: Shaped[np.ndarray | Array, "..."] | None,
    block: int,
) -> Search:
    """Checks what `nearest` is given and puts the gallery on the device, chunk by chunk."""
    if ensemble not in ENSEMBLES:
        raise UserError(f"unknown ensemble {ensemble!r}: 'concatenation' or 'mean_distance'")
    if block < 1:
        raise UserError(f"block = {block}: use 1 or more queries at once")
    rooted = ensemble == "mean_distance"
    q = _by_learner(queries, "queries", rooted)
    g = q if gallery is queries else _by_learner(gallery, "gallery", rooted)
    if q.shape[::2] != g.shape[::2]:
        raise UserError(f"queries {np.shape(queries)} and gallery {np.shape(gallery)} differ in d")
    if exclude_self and q.shape[1] != g.shape[1]:
        raise UserError("exclude_self needs the queries to be the gallery's rows, one for one")
    q_groups, g_groups = _group_codes(query_groups, gallery_groups, q.shape[1], g.shape[1])
    own = np.arange(q.shape[1], dtype=np.int32) if exclude_self else np.full(q.shape[1], -2)
    block = _round_up(min(block, q.shape[1]), QUERY_TILE)
    return Search(
        queries=Rows(q, own.astype(np.int32), q_groups),
        gallery=_chunks(g, g_groups, block),
        block=block,
        rooted=rooted,
    )


def blocks(search: Search, rows: Int[np.ndarray, " q"], k: int) -> Iterator[tuple[slice, Found]]:
    """The k nearest of the queries `rows`, block by block, each with its place in `rows`."""
    for start in range(0, len(rows), search.block):
        chosen = rows[start : start + search.block]
        queries = _padded(
            Rows(
                search.queries.vectors[:, chosen],
                search.queries.ids[chosen],
                search.queries.groups[chosen],
            ),
            search.block,
        )
        shape = (search.block, k)
        best = Found(jnp.full(shape, jnp.inf), jnp.full(shape, NOBODY, jnp.int32))
        for chunk in search.gallery:
            best = _merge(best, queries, chunk, rooted=search.rooted)
        found = Found(*(np.asarray(part)[: len(chosen)] for part in best))
        yield slice(start, start + len(chosen)), found


@partial(jax.jit, static_argnames="rooted")
def _merge(best: Found, queries: Rows, chunk: Rows, *, rooted: bool) -> Found:
    """The best of `best` and a chunk; top_k keeps the earlier of equals, that is, lower indices."""
    k = best.indices.shape[1]
    apart = _distances(jnp.asarray(queries.vectors), jnp.asarray(chunk.vectors), rooted)
    counts = (
        (chunk.ids[None] != NOBODY)
        & (chunk.ids[None] != queries.ids[:, None])
        & (chunk.groups[None] != queries.groups[:, None])
    )
    apart = jnp.where(counts, apart, jnp.inf)
    score, place = lax.top_k(-apart, min(k, apart.shape[1]))
    # What does not count is infinitely far, and there the k empty places of `best` come first.
    scores = jnp.concatenate([-best.distances, score], axis=1)
    indices = jnp.concatenate([best.indices, chunk.ids[place]], axis=1)
    score, place = lax.top_k(scores, k)
    return Found(-score, jnp.take_along_axis(indices, place, axis=1))


def _distances(queries: Array, gallery: Array, rooted: bool) -> Array:
    """[m, q, d] x [m, n, d] -> [q, n]: squared (m = 1), or the mean of unsquared over learners."""
    if not rooted:
        return _squared(queries[0], gallery[0])
    zero = jnp.zeros((queries.shape[1], gallery.shape[1]), jnp.float32)
    total, _ = lax.scan(
        lambda total, pair: (total + jnp.sqrt(_squared(*pair)), None), zero, (queries, gallery)
    )
    return total / len(queries)


def _squared(queries: Array, gallery: Array) -> Array:
    product = jnp.dot(queries, gallery.T, precision=lax.Precision.HIGHEST)
    lengths = jnp.sum(queries**2, axis=-1)[:, None] + jnp.sum(gallery**2, axis=-1)[None]
    return jnp.maximum(lengths - 2.0 * product, 0.0)


def _by_learner(vectors: np.ndarray | Array, what: str, rooted: bool) -> np.ndarray:
    """Vectors as float32 [m, n, d] on the host; [1, n, m * d] where learners are concatenated."""
    x = np.asarray(vectors)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise UserError(f"{what} must be [n, d] or [n, m, d] and not empty, not of shape {x.shape}")
    x = x.astype(np.float32, copy=False)
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        raise UserError(f"{what} hold a value that is not finite, first in row {row}")
    if not rooted or x.ndim == 2:
        return x.reshape(1, len(x), -1)
    return np.ascontiguousarray(np.swapaxes(x, 0, 1))


def _group_codes(
    query_groups: np.ndarray | Array | None,
    gallery_groups: np.ndarray | Array | None,
    q: int,
    n: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Groups as small integers; without groups, codes of which no query's is a gallery row's."""
    if query_groups is None and gallery_groups is None:
        return np.full(q, -1, np.int32), np.full(n, -2, np.int32)
    if query_groups is None or gallery_groups is None:
        raise UserError("groups of queries and of the gallery are given together or not at all")
    if np.shape(query_groups) != (q,) or np.shape(gallery_groups) != (n,):
        raise UserError(
            f"groups {np.shape(query_groups)} and {np.shape(gallery_groups)} do not fit "
            f"{q} queries and {n} gallery rows"
        )
    both = np.concatenate([np.asarray(query_groups), np.asarray(gallery_groups)])
    codes = np.unique(both, return_inverse=True)[1].astype(np.int32)
    return codes[:q], codes[q:]


def _chunks(vectors: np.ndarray, groups: np.ndarray, block: int) -> tuple[Rows, ...]:
    """The gallery in equal chunks, so that one compiled program serves them all."""
    n = vectors.shape[1]
    number = -(-n // max(PLANE // block, GALLERY_TILE))
    length = _round_up(-(-n // number), GALLERY_TILE)
    ids = np.arange(n, dtype=np.int32)
    parts = (slice(start, start + length) for start in range(0, n, length))
    return tuple(
        jax.device_put(_padded(Rows(vectors[:, p], ids[p], groups[p]), length)) for p in parts
    )


def _padded(rows: Rows, length: int) -> Rows:
    """Rows filled up to `length` with what is nobody's neighbour."""
    missing = length - len(rows.ids)
    return Rows(
        np.pad(rows.vectors, ((0, 0), (0, missing), (0, 0))),
        np.pad(rows.ids, (0, missing), constant_values=NOBODY),
        np.pad(rows.groups, (0, missing)),
    )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
