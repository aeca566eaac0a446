"""The distance up to which a nearest neighbour counts as a match, from labelled images.

What a user sees of a query is its nearest neighbour or "no match". So each labelled image is a
query, and what counts is the nearest image of the index apart from the query itself (its own path):

precision         of the queries whose nearest neighbour is within the threshold, the share where it
                  has the query's label
recall            of the queries with an image of their label in the index, the share that finds one
                  as its nearest and within the threshold
false_match_rate  of all queries, the share that would be given a match of another label if nothing
                  of their own label were in the index: the nearest image of another label is within
                  the threshold

Images of the index without a label are passed over. Equal distances are all within the threshold
or none is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.ingest import pieces
from abe_jax.index.manifest import Threshold
from abe_jax.index.search import nearest
from abe_jax.index.segments import Row
from abe_jax.index.selection import Wanted
from abe_jax.index.snapshot import Snapshot

DEPTH = 16  # neighbours looked at first; four times as many where these are all of one label
NO_LABEL = -1
COPY = 1e-6  # of a learner's vector: squared distance that rounding, also to float16, stays below


class Measured(NamedTuple):
    """Of each query: infinite where there is no such image."""

    nearest: Float[np.ndarray, " q"]  # distance to the nearest labelled image
    right: Bool[np.ndarray, " q"]  # whether that has the query's label
    other: Float[np.ndarray, " q"]  # distance to the nearest image of another label
    answerable: Bool[np.ndarray, " q"]  # whether the index has another image of the query's label


def of_images(
    found: Snapshot, of: Embedder, wanted: Wanted, say: Callable[[str], None]
) -> Measured:
    """`measure` of images that are read and embedded now; those that cannot be read are left out.

    Images that the index holds under another path, as after a move, find themselves: `say` warns.

    Raises:
        UserError: that of `measure`, or no image can be read.
    """
    require_labels([row.label for row in wanted.rows])
    vectors, read = list[np.ndarray](), list[Row]()
    for piece, embedded in pieces(of, wanted.rows):
        vectors.append(embedded.vectors)
        read += [piece[i] for i in embedded.instances]
    if not read:
        raise UserError("none of the labelled images can be read")
    missing = len(wanted.rows) + len(wanted.unreadable) - len(read)
    if missing:
        say(f"warning: {missing:,} of the labelled images cannot be read and are left out")
    paths, labels = [row.path for row in read], [row.label for row in read]
    measured = measure(found, np.concatenate(vectors), paths, labels)
    copied = int((measured.nearest <= _alike(found)).sum())
    if copied:
        say(
            f"warning: {copied:,} of the {len(read):,} labelled images have a copy in the index "
            "under another path, which answers them; if images were moved, build the index anew"
        )
    return measured


def _alike(found: Snapshot) -> float:
    """The distance up to which a neighbour may be the query's own file, or a copy of it."""
    return 0.0 if found.spec.storage == "binary" else COPY * found.spec.learners


def require_labels(labels: Sequence[str]) -> None:
    """Raises UserError where a label is empty."""
    without = sum(not label for label in labels)
    if without:
        raise UserError(f"{without} of {len(labels)} images have no label to calibrate by")


def measure(
    found: Snapshot,
    vectors: Float[np.ndarray, "q m d"],
    paths: Sequence[str],
    labels: Sequence[str],
) -> Measured:
    """What the index answers to labelled images; a query's own path is no answer to it.

    Raises:
        UserError: a label is empty, or the index has none at all.
    """
    require_labels(labels)
    rows = [(id_, row.path, row.label) for id_, row in found.rows()]
    if not any(label for _, _, label in rows):
        raise UserError(f"{found.folder}: no image in the index has a label to calibrate by")
    codes = {label: code for code, label in enumerate(dict.fromkeys(label for *_, label in rows))}
    codes[""] = NO_LABEL
    ids = np.array([id_ for id_, *_ in rows], np.int64)
    of_rows = np.array([codes[label] for *_, label in rows], np.int64)
    place = {path: at for at, (_, path, _) in enumerate(rows)}
    own = np.array([ids[place[path]] if path in place else -2 for path in paths], np.int64)
    of_queries = np.array([codes.get(label, -2) for label in labels], np.int64)
    counts = np.bincount(of_rows[of_rows >= 0], minlength=len(codes))
    same = np.where(of_queries >= 0, counts[of_queries], 0)
    pairs = zip(paths, labels, strict=True)
    itself = np.array([path in place and rows[place[path]][2] == label for path, label in pairs])
    near, right, other = _deepened(found, vectors, ids, of_rows, own, of_queries)
    return Measured(near, right, other, same - itself > 0)


def _deepened(
    found: Snapshot,
    vectors: Float[np.ndarray, "q m d"],
    ids: Int64[np.ndarray, " n"],
    of_rows: Int[np.ndarray, " n"],
    own: Int64[np.ndarray, " q"],
    of_queries: Int[np.ndarray, " q"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Looks as deep as it takes until each query has met an image of another label."""
    near, other = np.full((2, len(vectors)), np.inf)
    right = np.zeros(len(vectors), bool)
    left, depth = np.arange(len(vectors)), DEPTH
    while len(left):
        got = nearest(found, vectors[left], depth)
        there = got.ids >= 0
        at = np.minimum(np.searchsorted(ids, got.ids), len(ids) - 1)
        label = np.where(there, of_rows[at], NO_LABEL)
        counts = (label != NO_LABEL) & (got.ids != own[left][:, None])
        same = label == of_queries[left][:, None]
        near[left], first = _first(got.distances, counts)
        right[left] = counts.any(axis=1) & np.take_along_axis(same, first[:, None], axis=1)[:, 0]
        other[left], _ = _first(got.distances, counts & ~same)
        left = left[there.all(axis=1) & ~(counts & ~same).any(axis=1)]
        depth *= 4
    return near, right, other


def _first(
    distances: Float[np.ndarray, "q k"], counts: Bool[np.ndarray, "q k"]
) -> tuple[Float[np.ndarray, " q"], Int[np.ndarray, " q"]]:
    """The distance and the place of the first that counts; infinite where none does."""
    first = counts.argmax(axis=1)
    chosen = np.take_along_axis(distances, first[:, None], axis=1)[:, 0]
    return np.where(counts.any(axis=1), chosen, np.inf), first


def at(measured: Measured, threshold: float) -> Mapping[str, float | int]:
    """What is measured at a threshold; precision is 1 where nothing is within it."""
    within = measured.nearest <= threshold
    hits = int((within & measured.right).sum())
    answerable = int(measured.answerable.sum())
    return {
        "precision": hits / int(within.sum()) if within.any() else 1.0,
        "recall": hits / answerable if answerable else 0.0,
        "false_match_rate": float((measured.other <= threshold).mean()),
        "queries": len(within),
        "answerable": answerable,
        "matches": int(within.sum()),
    }


def by_precision(measured: Measured, wish: float) -> Threshold:
    """The greatest threshold whose precision is `wish` at least.

    Raises:
        UserError: it is no share, cannot be reached, or 1 / (1 - wish) matches, so many as one
            wrong among them is allowed for, are not there.
    """
    if not 0 < wish < 1:
        raise UserError(f"--precision {wish:g}: above 0 and below 1")
    least = int(np.ceil(round(1 / (1 - wish), 6)))
    candidates, within, hits = _counted(measured)
    enough = within >= least
    if not enough.any():
        raise UserError(
            f"--precision {wish:g}: needs {least} labelled images with a neighbour at least; there "
            f"are {int(within.max(initial=0))}"
        )
    reached = np.flatnonzero(enough & (hits >= wish * within - 1e-9))
    if not len(reached):
        best = float((hits / within)[enough].max())
        raise UserError(
            f"--precision {wish:g}: cannot be reached; the best over {least} matches and more is "
            f"{_down(best)}"
        )
    chosen = float(candidates[reached[-1]])
    return Threshold(chosen, f"precision {wish:g}", at(measured, chosen))


def by_false_matches(measured: Measured, wish: float) -> Threshold:
    """The greatest threshold, among the distances of nearest neighbours, of that rate at most.

    Raises:
        UserError: it is no share, 1 / wish images are not there, or it cannot be reached.
    """
    if not 0 < wish < 1:
        raise UserError(f"--false-match-rate {wish:g}: above 0 and below 1")
    queries, least = len(measured.nearest), int(np.ceil(round(1 / wish, 6)))
    if queries < least:
        raise UserError(
            f"--false-match-rate {wish:g}: needs {least} labelled images at least; there are "
            f"{queries}"
        )
    candidates, _, _ = _counted(measured)
    if not len(candidates):
        raise UserError("no labelled image has a neighbour in the index")
    false = np.searchsorted(np.sort(measured.other), candidates, side="right")
    reached = np.flatnonzero(false <= wish * queries + 1e-9)
    if not len(reached):
        raise UserError(
            f"--false-match-rate {wish:g}: cannot be reached; at the smallest distance of all it "
            f"is {np.ceil(1e4 * false[0] / queries) / 1e4:.4f}"
        )
    chosen = float(candidates[reached[-1]])
    return Threshold(chosen, f"false-match rate {wish:g}", at(measured, chosen))


def _counted(
    measured: Measured,
) -> tuple[Float[np.ndarray, " c"], Int[np.ndarray, " c"], Int[np.ndarray, " c"]]:
    """The distances that a threshold may have; how many queries, and right ones, are within."""
    there = np.isfinite(measured.nearest)
    near = measured.nearest[there]
    candidates, inverse = np.unique(near, return_inverse=True)
    within = np.cumsum(np.bincount(inverse, minlength=len(candidates)))
    weights = measured.right[there].astype(np.int64)
    hits = np.cumsum(np.bincount(inverse, weights, len(candidates)).astype(np.int64))
    return candidates, within, hits


def _down(value: float) -> str:
    """A share in four digits, rounded down so that a wish for what it says can be met."""
    return f"{np.floor(value * 1e4) / 1e4:.4f}"
