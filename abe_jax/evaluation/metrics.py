"""Recall@K, R-precision and MAP@R, leave-one-out or of queries against a gallery."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from abe_jax.errors import UserError
from abe_jax.evaluation import arguments, binary_codes, divided, knn, pruned
from abe_jax.evaluation.arguments import Codes, Ks
from abe_jax.evaluation.binary_codes import Packed
from abe_jax.evaluation.knn import Vectors
from abe_jax.evaluation.neighbours import in_blocks, nearest
from abe_jax.evaluation.options import Ranking
from abe_jax.evaluation.search import Search, check_k

SHALLOW = 64  # neighbours of which float64 compares every one; of more few are open in float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Values of every query that has a positive in the gallery; their means are the metrics."""

    queries: int  # how many have one
    rows: Int[np.ndarray, " queries"]  # which these are; the values below are in this order
    recall: dict[int, Float[np.ndarray, " queries"]]
    r_precision: Float[np.ndarray, " at_r"]  # one for each query, none if not asked for
    average_precision: Float[np.ndarray, " at_r"]

    def means(self) -> dict[str, float]:
        """{"recall@K": .., "r_precision": .., "map@r": ..}."""
        recalls = {f"recall@{k}": float(hits.mean()) for k, hits in self.recall.items()}
        return recalls | {
            "r_precision": float(self.r_precision.mean()),
            "map@r": float(self.average_precision.mean()),
        }


def metric_names(ks: Sequence[int]) -> tuple[str, ...]:
    """The names of the metrics that `Scores.means` gives."""
    return (*(f"recall@{k}" for k in ks), "r_precision", "map@r")


class LabelledGallery(NamedTuple):
    """The rows that queries search: vectors (or packed codes), labels and, where given, groups."""

    vectors: Vectors | Packed
    labels: Codes
    groups: Codes | None = None


def recall_at_k(
    vectors: Vectors | Packed,
    labels: Codes,
    ks: Ks,
    *,
    groups: Codes | None = None,
    gallery: LabelledGallery | None = None,
    ranking: Ranking = Ranking(),  # noqa: B008 (immutable)
) -> dict[int, float]:
    """Recall@K for each K: the share of queries with a positive among their K nearest.

    `vectors` [n, d] or [n, m, d], NumPy or JAX, integer `labels` [n]. Without a `gallery` every
    row is a query against all others (leave-one-out: itself excluded by index). With `groups`,
    gallery rows of the query's group do not count, neither as neighbours nor as positives.
    Ensembles and ties as in `knn`; `Ranking(ensemble="hamming")` ranks packed codes
    (`evaluation.pack`) in place of vectors, as in `hamming_nearest`.

    A query without any positive in its gallery (the only image of its class) cannot be right or
    wrong: it is left out of the mean, but stays in the gallery of the others.
    Raises UserError where shapes do not fit, a K exceeds the gallery, a vector is not finite, or no
    query at all has a positive.
    """
    ks = arguments.several_k(ks)
    if not ks:
        raise UserError("recall_at_k needs one K or more")
    test = _prepared(vectors, labels, groups, gallery, ranking)
    return {k: float(hits.mean()) for k, hits in _scores(test, ks, at_r=False).recall.items()}


def r_precision(
    vectors: Vectors | Packed,
    labels: Codes,
    *,
    groups: Codes | None = None,
    gallery: LabelledGallery | None = None,
    ranking: Ranking = Ranking(),  # noqa: B008 (immutable)
) -> float:
    """Mean over queries of the share of positives among the R nearest, R the query's positives.

    Arguments, rules and errors are those of `recall_at_k`.
    """
    test = _prepared(vectors, labels, groups, gallery, ranking)
    return float(_scores(test, ()).r_precision.mean())


def map_at_r(
    vectors: Vectors | Packed,
    labels: Codes,
    *,
    groups: Codes | None = None,
    gallery: LabelledGallery | None = None,
    ranking: Ranking = Ranking(),  # noqa: B008 (immutable)
) -> float:
    """Mean over queries of 1/R sum_{i <= R} P(i) rel(i), P(i) the precision among the i nearest.

    Arguments, rules and errors are those of `recall_at_k`.
    Source: Musgrave et al., A Metric Learning Reality Check, ECCV 2020.
    """
    test = _prepared(vectors, labels, groups, gallery, ranking)
    return float(_scores(test, ()).average_precision.mean())


def scores(
    vectors: Vectors | Packed,
    labels: Codes,
    ks: Ks = (1,),
    *,
    groups: Codes | None = None,
    gallery: LabelledGallery | None = None,
    ranking: Ranking = Ranking(),  # noqa: B008 (immutable)
) -> Scores:
    """All metrics of every query that has a positive, from one search; see `recall_at_k`."""
    test = _prepared(vectors, labels, groups, gallery, ranking)
    return _scores(test, arguments.several_k(ks))


class _Prepared(NamedTuple):
    """A search, and what is right for each query."""

    search: Search
    labels: np.ndarray  # of the queries
    gallery_labels: np.ndarray
    positives: np.ndarray  # how many gallery rows are right for each query
    neighbours: int  # how many neighbours each query has
    divided: bool  # among the hosts

    def right(self, rows: np.ndarray, found: np.ndarray) -> Bool[np.ndarray, "q k"]:
        """Which found rows are of the query's label; -1 follows all others and changes nothing."""
        return self.gallery_labels[found] == self.labels[rows][:, None]


def _prepared(
    vectors: Vectors | Packed,
    labels: Codes,
    groups: Codes | None,
    gallery: LabelledGallery | None,
    ranking: Ranking,
) -> _Prepared:
    """Raises on all hosts what it raises on one, where these divide the queries."""
    with divided.together(ranking.divided):
        leave_one_out = gallery is None
        rows = LabelledGallery(vectors, labels, groups) if gallery is None else gallery
        if (groups is None) != (rows.groups is None):
            raise UserError("groups of queries and of the gallery are given together or not at all")
        both = None if groups is None or rows.groups is None else (groups, rows.groups)
        if ranking.ensemble == binary_codes.HAMMING:
            search = binary_codes.prepare(
                vectors, rows.vectors, exclude_self=leave_one_out, groups=both, block=ranking.block
            )
        else:
            search = knn.prepare(
                vectors, rows.vectors, exclude_self=leave_one_out, groups=both, ranking=ranking
            )
        own, n = arguments.integers(labels, len(vectors), "labels"), len(rows.vectors)
        others = own if leave_one_out else arguments.integers(rows.labels, n, "gallery labels")
        number = positives(own, others, leave_one_out=leave_one_out, groups=both)
        return _Prepared(search, own, others, number, n - leave_one_out, ranking.divided)


def _scores(test: _Prepared, ks: Sequence[int], *, at_r: bool = True) -> Scores:
    """The values of all queries; `at_r=False` leaves the metrics at R empty."""
    with divided.together(test.divided):
        order, values = _own_values(test, ks, at_r)
    values = divided.of_all_hosts(values, test.search.block, test.divided)
    return Scores(
        queries=len(order),
        rows=order,
        recall=dict(zip(ks, values, strict=False)),
        r_precision=values[-2] if at_r else np.zeros(0),
        average_precision=values[-1] if at_r else np.zeros(0),
    )


def _own_values(
    test: _Prepared, ks: Sequence[int], at_r: bool
) -> tuple[Int[np.ndarray, " queries"], Float[np.ndarray, "v queries"]]:
    """The queries with a positive, by rising R: so few are searched as deep as the largest R; and
    of this host's the recall at each K and, `at_r`, the metrics at R."""
    for k in ks:
        check_k(k, test.neighbours)
    number, order = test.positives, np.argsort(test.positives, kind="stable")
    order = order[number[order] > 0]
    if not len(order):
        raise UserError("no query has a positive in its gallery: nothing can be measured")
    need = np.maximum(number if at_r else np.ones_like(number), max(*ks, 1, 1))
    first = None
    if need[order[0]] <= SHALLOW:
        first = pruned.first_pass(test.search, min(SHALLOW, int(need[order[-1]])))

    def of(rows: np.ndarray) -> np.ndarray:
        found = nearest(test.search, rows, need[rows], test.right, first)
        match = test.right(rows, np.asarray(found.indices))
        hits = [match[:, :k].any(axis=1) for k in ks]
        return np.array([*hits, *(at_own_depth(match, number[rows]) if at_r else ())], np.float64)

    values = np.zeros((len(ks) + 2 * at_r, len(order)))
    at = divided.own_queries(len(order), test.search.block, test.divided)
    for part, found in in_blocks(test.search, at, lambda part: (part, of(order[part]))):
        values[:, part] = found
    return order, values


def at_own_depth(
    match: Bool[np.ndarray, "q k"], positives: Int[np.ndarray, " q"]
) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """R-precision and average precision at R; `match[i, j]`: neighbour j of query i is positive."""
    depths = np.arange(1, match.shape[1] + 1)
    hits = match & (depths[None] <= positives[:, None])
    precisions = np.cumsum(hits, axis=1) / depths[None]
    return hits.sum(axis=1) / positives, (precisions * hits).sum(axis=1) / positives


def positives(
    labels: Int[np.ndarray, " q"],
    gallery_labels: Int[np.ndarray, " n"],
    *,
    leave_one_out: bool,
    groups: tuple[Codes, Codes] | None = None,
) -> Int[np.ndarray, " q"]:
    """R of every query: gallery rows of its label, less those of its group, or less itself."""
    total = _count(labels, gallery_labels)
    if groups is None:
        return total - int(leave_one_out)
    both = np.concatenate([np.asarray(part) for part in groups])
    values, codes = np.unique(both, return_inverse=True)
    classes = np.unique(np.concatenate([labels, gallery_labels]), return_inverse=True)[1]
    pairs = classes * len(values) + codes  # small numbers: labels themselves may be of any size
    return total - _count(pairs[: len(labels)], pairs[len(labels) :])


def _count(keys: np.ndarray, among: np.ndarray) -> np.ndarray:
    """How often each key occurs among others."""
    values, counts = np.unique(among, return_counts=True)
    index = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    return np.where(values[index] == keys, counts[index], 0)
