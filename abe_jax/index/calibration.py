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

from abe_jax.data.sources.labels import composed
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.image_list import ImageList
from abe_jax.index.ingest import embedded_pieces
from abe_jax.index.known_labels import with_known_labels
from abe_jax.index.search import nearest_rows
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot
from abe_jax.index.vectors import copy_distance

DEPTH = 16  # neighbours looked at first; four times as many where these are all of one label
NO_LABEL, NEW_LABEL = -1, -2  # codes of a row without a label, of one that the index has not
NOT_INDEXED = -2  # the id of a query that is no row of the index


class LabelledNeighbours(NamedTuple):
    """Of each query; distances are infinite where there is no such image."""

    nearest: Float[np.ndarray, " q"]  # distance to the nearest labelled image
    right: Bool[np.ndarray, " q"]  # whether that has the query's label
    other: Float[np.ndarray, " q"]  # distance to the nearest image of another label
    answerable: Bool[np.ndarray, " q"]  # whether the index has another image of the query's label


class _LabelCodes(NamedTuple):
    """The rows of an index and the queries, by id and by label as integers."""

    ids: Int64[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    own: Int64[np.ndarray, " q"]  # the id of the query itself
    queries: Int[np.ndarray, " q"]


def neighbours_of_images(
    snapshot: Snapshot, embedder: Embedder, images: ImageList, say: Callable[[str], None]
) -> LabelledNeighbours:
    """`labelled_neighbours` of images that are read and embedded now.

    An image that is in the index has the label that it has there, where its own says no other: see
    `with_known_labels`. Those that cannot be read are left out. Images that the index holds under
    another path, as after a move, find themselves: `say` is given a warning.

    Raises:
        UserError: that of `labelled_neighbours`, or no image can be read.
    """
    images = with_known_labels(images, {row.path: row.label for _, row in snapshot.rows()})
    for note in images.notes:
        say(f"warning: {note}")
    require_labels([row.label for row in images.rows])
    vectors, readable = list[np.ndarray](), list[ImageRow]()
    for piece, embedded in embedded_pieces(embedder, images.rows):
        vectors.append(embedded.vectors)
        readable += [piece[i] for i in embedded.image_ids]
    if not readable:
        raise UserError("none of the labelled images can be read")
    missing = len(images.rows) + len(images.unreadable) - len(readable)
    if missing:
        say(f"warning: {missing:,} of the labelled images cannot be read and are left out")
    paths, labels = [row.path for row in readable], [row.label for row in readable]
    neighbours = labelled_neighbours(snapshot, np.concatenate(vectors), paths, labels)
    copied = int((neighbours.nearest <= copy_distance(snapshot.spec)).sum())
    if copied:
        say(
            f"warning: {copied:,} of the {len(readable):,} labelled images have a copy in the "
            "index under another path, which answers them; if images were moved, build the index "
            "anew"
        )
    return neighbours


def require_labels(labels: Sequence[str]) -> None:
    """Raises UserError where a label is empty."""
    without = sum(not label for label in labels)
    if without:
        raise UserError(f"{without} of {len(labels)} images have no label to calibrate by")


def labelled_neighbours(
    snapshot: Snapshot,
    vectors: Float[np.ndarray, "q m d"],
    paths: Sequence[str],
    labels: Sequence[str],
) -> LabelledNeighbours:
    """What the index answers to labelled images; a query's own path is no answer to it.

    Raises:
        UserError: a label is empty, or the index has none at all.
    """
    require_labels(labels)
    labels = [composed(label) for label in labels]
    rows = [(id_, row.path, composed(row.label)) for id_, row in snapshot.rows()]
    if not any(label for _, _, label in rows):
        raise UserError(f"{snapshot.folder}: no image in the index has a label to calibrate by")
    by_label = {label: i for i, label in enumerate(dict.fromkeys(label for *_, label in rows))}
    by_label[""] = NO_LABEL
    by_path = {path: (id_, label) for id_, path, label in rows}
    codes = _LabelCodes(
        ids=np.array([id_ for id_, *_ in rows], np.int64),
        rows=np.array([by_label[label] for *_, label in rows], np.int64),
        own=np.array([by_path.get(path, (NOT_INDEXED,))[0] for path in paths], np.int64),
        queries=np.array([by_label.get(label, NEW_LABEL) for label in labels], np.int64),
    )
    counts = np.bincount(codes.rows[codes.rows >= 0], minlength=len(by_label))
    same = np.where(codes.queries >= 0, counts[codes.queries], 0)
    pairs = zip(paths, labels, strict=True)
    itself = np.array([path in by_path and by_path[path][1] == label for path, label in pairs])
    nearest, right, other = _nearest_labelled(snapshot, vectors, codes)
    return LabelledNeighbours(nearest, right, other, same - itself > 0)


def _nearest_labelled(
    snapshot: Snapshot, vectors: Float[np.ndarray, "q m d"], codes: _LabelCodes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Looks as deep as it takes until each query has met an image of another label."""
    nearest, other = np.full((2, len(vectors)), np.inf)
    right = np.zeros(len(vectors), bool)
    left, depth = np.arange(len(vectors)), DEPTH
    while len(left):
        neighbours = nearest_rows(snapshot, vectors[left], depth)
        there = neighbours.ids >= 0
        rows = np.minimum(np.searchsorted(codes.ids, neighbours.ids), len(codes.ids) - 1)
        label = np.where(there, codes.rows[rows], NO_LABEL)
        counts = (label != NO_LABEL) & (neighbours.ids != codes.own[left][:, None])
        same = label == codes.queries[left][:, None]
        nearest[left], first = _first(neighbours.distances, counts)
        right[left] = counts.any(axis=1) & np.take_along_axis(same, first[:, None], axis=1)[:, 0]
        other[left], _ = _first(neighbours.distances, counts & ~same)
        left = left[there.all(axis=1) & ~(counts & ~same).any(axis=1)]
        depth *= 4
    return nearest, right, other


def _first(
    distances: Float[np.ndarray, "q k"], counts: Bool[np.ndarray, "q k"]
) -> tuple[Float[np.ndarray, " q"], Int[np.ndarray, " q"]]:
    """The distance and the column of the first that counts; infinite where none does."""
    first = counts.argmax(axis=1)
    chosen = np.take_along_axis(distances, first[:, None], axis=1)[:, 0]
    return np.where(counts.any(axis=1), chosen, np.inf), first


def rates(neighbours: LabelledNeighbours, threshold: float) -> Mapping[str, float | int]:
    """The rates at a threshold, by name; precision is 1 where nothing is within it."""
    within = neighbours.nearest <= threshold
    hits = int((within & neighbours.right).sum())
    answerable = int(neighbours.answerable.sum())
    return {
        "precision": hits / int(within.sum()) if within.any() else 1.0,
        "recall": hits / answerable if answerable else 0.0,
        "false_match_rate": float((neighbours.other <= threshold).mean()),
        "queries": len(within),
        "answerable": answerable,
        "matches": int(within.sum()),
    }
