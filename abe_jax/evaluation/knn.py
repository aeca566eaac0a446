"""Exact nearest neighbours of vectors."""

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Float64, Int, Shaped

from abe_jax.errors import UserError
from abe_jax.evaluation import arguments, frame
from abe_jax.evaluation.arguments import Groups
from abe_jax.evaluation.neighbours import all_nearest
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.search import ExactVectors, Search, check_k, prepared_search

ENSEMBLES = ("concatenation", "mean_distance")

Vectors = Float[np.ndarray | Array, "_ ... _"]  # [n, d] or [n, m, d]


def knn(
    queries: Vectors,
    gallery: Vectors,
    k: int | np.integer,
    *,
    exclude_self: bool = False,
    groups: Groups | None = None,
    ranking: Ranking = Ranking(),  # noqa: B008 (immutable)
) -> tuple[Float64[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The k nearest gallery rows of every query: distances and indices [q, k], nearest first.

    `queries` and `gallery` are [n, d] or [n, m, d]. The ensemble "concatenation" ranks by the
    squared Euclidean distance of the concatenated learners (for unit vectors: by their mean
    cosine), "mean_distance" by the mean over learners of the unsquared distance. Equal distances
    rank by gallery index. `exclude_self`: row i of the queries is row i of the gallery and not its
    own neighbour. With `groups`, of the queries and of the gallery's rows, gallery rows of the
    query's own group do not count. Where fewer than k neighbours are left, the index is -1 and the
    distance infinite. A row of NaN alone (of no readable image) is no neighbour and has none.

    Exact, as `order` defines it: the distances are those of float64 between the vectors taken as
    float32, and rank so. float32 finds candidates on the devices, or bfloat16 where a processor is
    fast at it, two blocks of queries at once, each with at most `block` (rounded up to 8) times
    2^25 / `block` distances; a bound of its error proves them, or the host compares the query with
    every row in float64. So vectors of any size, far from the origin or nearly equal rank rightly;
    where more than a few of them are nearly equal, or k is large, it takes longer.
    Raises UserError where shapes do not fit, k exceeds the gallery, or a vector is not finite.
    """
    k = arguments.one_k(k)
    rows, others = _present(queries), _present(gallery)
    if len(rows) < len(queries) or len(others) < len(gallery):
        check_k(k, len(gallery) - exclude_self)
        own = None
        if groups is not None:
            of_queries, of_gallery = arguments.both_groups(groups, len(queries), len(gallery))
            own = of_queries[rows], of_gallery[others]
        options = {"exclude_self": exclude_self, "groups": own, "ranking": ranking}
        reach = min(k, len(others) - exclude_self)
        distances = np.full((len(queries), k), np.inf)
        indices = np.full((len(queries), k), -1, np.int32)
        if len(rows) and reach > 0:
            both = (np.asarray(queries)[rows], np.asarray(gallery)[others])
            distances[rows, :reach], nearest = knn(*both, reach, **options)
            indices[rows, :reach] = np.where(nearest >= 0, others[nearest], -1)
        return distances, indices
    search = prepare(queries, gallery, exclude_self=exclude_self, groups=groups, ranking=ranking)
    check_k(k, len(gallery) - exclude_self)
    best = all_nearest(search, k)
    return np.asarray(best.distances), np.asarray(best.indices)


def _present(vectors: Vectors) -> Int[np.ndarray, " k"]:
    """The rows that are vectors and not NaN alone."""
    x = np.asarray(vectors)
    if x.ndim not in (2, 3) or not x.size or not np.issubdtype(x.dtype, np.floating):
        return np.arange(len(x))  # refused later, by what is wrong with them
    return np.flatnonzero(~np.isnan(x).reshape(len(x), -1).all(axis=1))


def prepare(
    queries: Shaped[np.ndarray | Array, "..."],
    gallery: Shaped[np.ndarray | Array, "..."],
    *,
    exclude_self: bool,
    groups: Groups | None,
    ranking: Ranking,
) -> Search:
    """Checks what `knn` is given and makes its search ready."""
    if ranking.ensemble not in ENSEMBLES:
        raise UserError(
            f"unknown ensemble {ranking.ensemble!r}: 'concatenation' or 'mean_distance'; the "
            "metrics of packed codes know 'hamming' too"
        )
    rooted = ranking.ensemble == "mean_distance"
    q = _by_learner(queries, "queries", rooted)
    g = q if gallery is queries else _by_learner(gallery, "gallery", rooted)
    if q.shape[::2] != g.shape[::2]:
        raise UserError(f"queries {np.shape(queries)} and gallery {np.shape(gallery)} differ in d")
    fixed = frame.frame(g, q)
    moved = fixed.moved(q), fixed.moved(g)
    search = prepared_search(
        *moved,
        frame.least_mean if rooted else frame.least_squared,
        exclude_self=exclude_self,
        groups=groups,
        block=ranking.block,
    )
    lengths = frame.lengths(moved[0]), frame.lengths(moved[1])
    return dataclasses.replace(search, exact_vectors=ExactVectors(q, g, fixed, lengths, rooted))


def _by_learner(vectors: np.ndarray | Array, what: str, rooted: bool) -> np.ndarray:
    """Vectors as float32 [m, n, d] on the host; [1, n, m * d] where learners are concatenated."""
    x = np.asarray(vectors)
    if x.ndim not in (2, 3) or 0 in x.shape:
        raise UserError(f"{what} must be [n, d] or [n, m, d] and not empty, not of shape {x.shape}")
    if x.dtype == np.uint8:
        raise UserError(f"{what} are packed codes (uint8): rank them by ensemble 'hamming'")
    x = arguments.float32(x, what)
    check_finite(x, what)
    if not rooted or x.ndim == 2:
        return x.reshape(1, len(x), -1)
    return np.ascontiguousarray(np.swapaxes(x, 0, 1))


def check_finite(x: Shaped[np.ndarray, "n ..."], what: str) -> None:
    """Raises UserError that names the first row with a value that is not finite."""
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        raise UserError(f"{what} hold a value that is not finite, first in row {row}")
