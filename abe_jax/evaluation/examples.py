"""What a page shows of a split, as data: queries with their neighbours, and where learners look."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from abe_jax.data import loader
from abe_jax.data.split import Split, chosen
from abe_jax.evaluation import protocols
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.measure import nothing_to_retrieve
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.search import BLOCK

SHOWN = 8  # neighbours of each query, and images under attention


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gallery:
    """Queries with their nearest neighbours, holding only the images that are shown.

    `queries` and `neighbours` (nearest first, -1 where there are fewer) index `images`.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, "n"]
    class_names: Sequence[str]  # by label
    queries: Int[np.ndarray, "q"]
    neighbours: Int[np.ndarray, "q k"]
    failures: int = 0  # so many of the last queries were drawn from those answered wrongly
    details: Sequence[str] | None = None  # one line per image, such as its type family

    def right(self) -> Bool[np.ndarray, "q k"]:
        """Which neighbours are of their query's class."""
        same = self.labels[self.neighbours] == self.labels[self.queries][:, None]
        return same & (self.neighbours >= 0)

    def name(self, image: int) -> str:
        """The class name of an image, by its index into `images`."""
        return self.class_names[int(self.labels[image])]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
    """Images and, for each, every learner's mask averaged over its channels."""

    images: UInt8[np.ndarray, "s h w c"]
    masks: Float[np.ndarray, "s m i j"]
    captions: Sequence[str]  # one per image, such as its class name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Queries to show, by their indices: evenly spaced ones, then failures."""

    spaced: Int[np.ndarray, "a"]
    failed: Int[np.ndarray, "b"]


def gallery(
    embedder: Embedder, split: Split, embedded: Embedded, block: int = BLOCK
) -> Gallery | None:
    """Queries of a split, chosen by `choose`, with their nearest neighbours.

    None where nothing can be retrieved. `block` queries are compared with the gallery at once.
    """
    if nothing_to_retrieve(split, embedded):
        return None
    read = chosen(split, embedded.image_ids)
    flat = embedded.vectors.reshape(len(read.labels), -1)
    queries, neighbours = protocols.nearest(flat, read.gallery, SHOWN, block=block)
    choice = choose(read.labels[neighbours[:, 0]] == read.labels[queries])
    indices = np.concatenate([choice.spaced, choice.failed])
    shown = shown_images(
        queries[indices],
        neighbours[indices],
        lambda row: loader.images_at(
            split, embedder.network.preprocessing, embedded.image_ids[[row]]
        )[0],
    )
    return Gallery(
        images=shown.images,
        labels=read.labels[shown.rows],
        class_names=split.class_names,
        queries=shown.queries,
        neighbours=shown.neighbours,
        failures=len(choice.failed),
        details=None if read.groups is None else _group_names(read, shown.rows),
    )


def attention(embedder: Embedder, split: Split, embedded: Embedded) -> Attention | None:
    """Images evenly spaced over a split with the learners' masks; None of a model without masks.

    None on several hosts too, where a device of another host would have to be asked.
    """
    if embedder.network.model.kind != "attention" or jax.process_count() > 1:
        return None
    indices = (np.arange(SHOWN) + 0.5) * len(embedded.image_ids) / SHOWN
    rows = embedded.image_ids[indices.astype(np.int64)]
    images = loader.images_at(split, embedder.network.preprocessing, rows)
    return Attention(
        images=images,
        masks=embedder.masks(images).mean(axis=-1, dtype=np.float32),
        captions=[split.class_names[label] for label in split.labels[rows]],
    )


def choose(right: Bool[np.ndarray, "n"], *, spaced: int = 8, failed: int = 8) -> Choice:
    """The queries to show: `spaced` evenly over the split, and `failed` evenly over its failures.

    Both are fixed by the split's order alone, so the sheet cannot be picked by hand; no query
    comes twice. `right` says of each query whether its nearest neighbour is of its class.
    """
    first = evenly(len(right), spaced)
    wrong = np.setdiff1d(np.flatnonzero(~right), first)
    return Choice(spaced=first, failed=wrong[evenly(len(wrong), failed)])


def evenly(count: int, most: int) -> Int[np.ndarray, " k"]:
    """At most `most` of `count` indices, evenly spaced, each from the middle of its share."""
    most = min(count, most)
    return ((np.arange(most) + 0.5) * count / max(most, 1)).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownImages:
    """Images of the rows that are shown, each once; queries and neighbours index these."""

    rows: Int[np.ndarray, " n"]
    images: UInt8[np.ndarray, "n h w c"]
    queries: Int[np.ndarray, " q"]
    neighbours: Int[np.ndarray, "q k"]


def shown_images(
    queries: Int[np.ndarray, " q"],
    neighbours: Int[np.ndarray, "q k"],
    image: Callable[[int], UInt8[np.ndarray, "h w c"]],
) -> ShownImages:
    """The images of rows as queries and neighbours (-1: none), none asked for that is not shown."""
    rows = np.union1d(queries, neighbours[neighbours >= 0])
    index = np.searchsorted(rows, neighbours)
    return ShownImages(
        rows=rows,
        images=np.stack([image(int(row)) for row in rows]),
        queries=np.searchsorted(rows, queries),
        neighbours=np.where(neighbours >= 0, index, -1),
    )


def _group_names(read: Split, rows: Int[np.ndarray, " n"]) -> list[str]:
    assert read.groups is not None
    return [read.group_names[group] for group in read.groups[rows]]
