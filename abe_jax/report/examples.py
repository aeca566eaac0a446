"""The images that a report shows: which queries, their neighbours, and where learners look."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


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
    """Queries to show, as indices into the split: evenly spaced ones, then failures."""

    spaced: Int[np.ndarray, "a"]
    failed: Int[np.ndarray, "b"]


def choose(right: Bool[np.ndarray, "n"], *, spaced: int = 8, failed: int = 8) -> Choice:
    """The queries to show: `spaced` evenly over the split, and `failed` evenly over its failures.

    Both are fixed by the split's order alone, so the sheet cannot be picked by hand; no query
    comes twice. `right` says of each query whether its nearest neighbour is of its class.
    """
    first = _even(np.arange(len(right)), spaced)
    wrong = np.setdiff1d(np.flatnonzero(~right), first)
    return Choice(spaced=first, failed=_even(wrong, failed))


def _even(items: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the items, evenly spaced, each from the middle of its share."""
    count = min(count, len(items))
    places = (np.arange(count) + 0.5) * len(items) / max(count, 1)
    return items[places.astype(np.int64)]


def gallery(
    choice: Choice,
    neighbours: Int[np.ndarray, "q k"],
    *,
    labels: Int[np.ndarray, "n"],
    class_names: Sequence[str],
    image: Callable[[int], np.ndarray],
    details: Callable[[int], str] | None = None,
) -> Gallery:
    """The chosen queries as a Gallery, asking for no image that is not shown, each asked once.

    Args:
        choice: q queries as indices into the split, from `choose`.
        neighbours: of the chosen queries (spaced, then failed), as indices into the split.
        labels: of the whole split, which is its own gallery.
        class_names: by label.
        image: index into the split -> uint8 [h, w, c], all of one shape.
        details: index into the split -> one line about the image.
    """
    queries = np.concatenate([choice.spaced, choice.failed])
    shown = np.union1d(queries, neighbours[neighbours >= 0])
    place = np.searchsorted(shown, neighbours)
    return Gallery(
        images=np.stack([image(int(i)) for i in shown]),
        labels=labels[shown],
        class_names=class_names,
        queries=np.searchsorted(shown, queries),
        neighbours=np.where(neighbours >= 0, place, -1),
        failures=len(choice.failed),
        details=None if details is None else [details(int(i)) for i in shown],
    )
