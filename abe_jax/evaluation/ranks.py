"""The ranks of given gallery rows for each query, by the exact order."""

import numpy as np
from jaxtyping import Bool, Float64, Int

from abe_jax.evaluation import knn, whole_rows
from abe_jax.evaluation.arguments import Groups
from abe_jax.evaluation.divided import of_all_hosts, own_blocks, together
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.order import Candidates
from abe_jax.evaluation.search import BLOCK, Search
from abe_jax.evaluation.whole_rows import BOUNDS_AT_ONCE


def ranks(
    queries: Vectors,
    gallery: Vectors,
    targets: Int[np.ndarray, "q t"],
    *,
    rows: Int[np.ndarray, " q"] | None = None,
    groups: Groups | None = None,
    block: int = BLOCK,
    divided: bool = False,
) -> Int[np.ndarray, "q t"]:
    """How many gallery rows stand before each target row: 0 is the nearest neighbour.

    By the distances of `knn` with concatenated learners, and by its order: equal distances
    rank by gallery index. With `rows`, only queries[rows] are ranked, and as in `exclude_self` the
    queries are the gallery and a query's own row does not count. With `groups`, of the queries and
    of the gallery's rows, gallery rows of the query's own group do not count. Row i of `targets`
    are gallery rows that count for query i; -1 is no target, and its rank says nothing. Every
    distance is
    bounded in float64 on the host, and computed exactly where the bounds leave open which of two
    rows is nearer. `divided` as in `Ranking`. Raises UserError as `knn`.
    """
    with together(divided):
        search = knn.prepare(
            queries,
            gallery,
            exclude_self=rows is not None,
            groups=groups,
            ranking=Ranking(block=block),
        )
        asking = np.arange(len(targets)) if rows is None else rows
        step = max(1, min(block, BOUNDS_AT_ONCE // len(search.groups)))
        found = np.zeros(targets.shape, np.int64)
        for at in own_blocks(len(targets), step, divided):
            found[at] = _block(search, asking[at], targets[at])
    return of_all_hosts(found.T, step, divided).T


def alike(asked: Int[np.ndarray, " q"], known: Int[np.ndarray, " n"]) -> Int[np.ndarray, "q t"]:
    """The places in `known` where each number of `asked` stands, rising, filled up with -1."""
    order = np.argsort(known, kind="stable")
    start = np.searchsorted(known[order], asked)
    number = np.searchsorted(known[order], asked, side="right") - start
    column = np.arange(number.max(initial=0))[None]
    reach = np.minimum(start[:, None] + column, len(order) - 1)
    return np.where(column < number[:, None], order[reach], -1) if column.size else reach


def _block(
    search: Search, rows: Int[np.ndarray, " q"], targets: Int[np.ndarray, "q t"]
) -> Int[np.ndarray, "q t"]:
    exact_vectors = search.exact_vectors
    assert exact_vectors is not None
    found, distance = (
        whole_rows.all_candidates(search, exact_vectors, rows),
        whole_rows.exact(exact_vectors, rows),
    )
    there = targets >= 0
    reach = np.full(targets.shape, -1.0)
    reach[there] = distance(np.nonzero(there)[0], targets[there])
    nearer, possible = _counts(found, reach)
    # Of each target: the rows that may be nearer or farther, itself among them
    number = np.where(there, possible - nearer, 0).ravel()
    owner = np.repeat(np.arange(number.size), number)
    query, target = np.divmod(owner, targets.shape[1])
    place = nearer.ravel()[owner] + np.arange(len(owner)) - (np.cumsum(number) - number)[owner]
    ids = found.ids[query, place]
    before = np.zeros(len(owner), bool)
    other = ids != targets[query, target]
    before[other] = _before(
        (distance(query[other], ids[other]), ids[other]),
        (reach[query, target][other], targets[query, target][other]),
    )
    return nearer + np.bincount(owner, before, number.size).astype(np.int64).reshape(nearer.shape)


def _counts(
    found: Candidates, reach: Float64[np.ndarray, "q t"]
) -> tuple[Int[np.ndarray, "q t"], Int[np.ndarray, "q t"]]:
    """How many rows, of the nearest on, are certainly nearer than each target; how many can be."""
    nearer, possible = np.zeros(reach.shape, np.int64), np.zeros(reach.shape, np.int64)
    most = np.maximum.accumulate(found.most, axis=1)
    for i, own in enumerate(reach):
        nearer[i] = np.searchsorted(most[i], own, "left")
        possible[i] = np.searchsorted(found.least[i], own, "right")
    return nearer, possible


def _before(
    one: tuple[Float64[np.ndarray, " p"], Int[np.ndarray, " p"]],
    other: tuple[Float64[np.ndarray, " p"], Int[np.ndarray, " p"]],
) -> Bool[np.ndarray, " p"]:
    """Whether each row is before another, by distance and, of equals, by number."""
    return (one[0] < other[0]) | ((one[0] == other[0]) & (one[1] < other[1]))
