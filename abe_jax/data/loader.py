"""Batches for training and for embedding, through Grain, sharded by host."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Bool, Int, UInt8

from abe_jax.config import Data
from abe_jax.data.dataset import Split
from abe_jax.data.images import preprocessing


class Batch(NamedTuple):
    """This host's rows of one global batch.

    `mask` is False for rows that are no image: the padding of a last batch, or an image that
    could not be read (`unreadable`). Such rows are zeros and take no part in any loss.
    """

    images: UInt8[np.ndarray, "b h w c"]
    labels: Int[np.ndarray, " b"]
    instances: Int[np.ndarray, " b"]
    mask: Bool[np.ndarray, " b"]


class Shard(NamedTuple):
    """Which part of each global batch this host loads."""

    index: int = 0
    count: int = 1

    def rows(self, batch: int) -> slice:
        """The rows of a global batch that are this host's."""
        size = batch // self.count
        return slice(self.index * size, (self.index + 1) * size)


def training(
    split: Split,
    data: Data,
    sample: Callable[[int], np.ndarray],
    *,
    seed: int,
    start: int,
    steps: int,
    shard: Shard = Shard(),  # noqa: B008 (immutable)
) -> Iterator[Batch]:
    """The batches of the steps `start` to `steps`.

    Each is a pure function of (seed, step), augmentation included, so a run resumed at `start`
    sees what a run that never stopped sees, whatever the number of threads or hosts.
    """

    def batch_of(step: int) -> Batch:
        indices = sample(step)
        rows = shard.rows(len(indices))
        keys = [(seed, step, place) for place in range(len(indices))[rows]]

        def picture(place: int, encoded: bytes) -> UInt8[np.ndarray, "h w c"]:
            return preprocessing.training(encoded, data, np.random.default_rng(keys[place]))

        return load(split, indices[rows], _shape(data), picture)

    return prefetched(batch_of, start, steps, data.threads)


def in_order(
    split: Split,
    data: Data,
    batch: int,
    shard: Shard = Shard(),  # noqa: B008 (immutable)
) -> Iterator[Batch]:
    """Every image once, centre-cropped, in batches of one size; the last is padded."""
    count, picture = len(split.labels), _centred(data)

    def batch_of(place: int) -> Batch:
        indices = np.arange(place * batch, (place + 1) * batch)[shard.rows(batch)]
        loaded = load(split, indices[indices < count], _shape(data), picture)
        return _filled(loaded, len(indices))

    return prefetched(batch_of, 0, -(-count // batch), data.threads)


def _filled(batch: Batch, rows: int) -> Batch:
    """The batch with so many rows: those behind its own are zeros and no images."""
    missing = rows - len(batch.mask)
    return Batch(*(np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for x in batch))


def seen(split: Split, data: Data, indices: Int[np.ndarray, " k"]) -> UInt8[np.ndarray, "k h w c"]:
    """The images at `indices` as `in_order` gives them; one that cannot be read is black."""
    return load(split, indices, _shape(data), _centred(data)).images


def _centred(data: Data) -> Callable[[int, bytes], UInt8[np.ndarray, "h w c"]]:
    return lambda _, encoded: preprocessing.centre(preprocessing.decode(encoded, data), data)


class _Steps:
    """Random access to batches by step, which is all that Grain needs of a source."""

    def __init__(self, batch_of: Callable[[int], Batch], start: int, stop: int):
        self._batch_of, self._start, self._stop = batch_of, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> Batch:
        return self._batch_of(self._start + int(index))


def _shape(data: Data) -> tuple[int, int, int]:
    return data.size, data.size, data.channels


def prefetched(
    batch_of: Callable[[int], Batch], start: int, stop: int, threads: int
) -> Iterator[Batch]:
    """The batches `start` to `stop` in order, made ahead by so many threads."""
    source = grain.MapDataset.source(_Steps(batch_of, start, stop))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    return iter(source.to_iter_dataset(options))


def load(
    split: Split,
    indices: Int[np.ndarray, " b"],
    shape: tuple[int, ...],
    picture: Callable[[int, bytes], UInt8[np.ndarray, "h w c"]],
) -> Batch:
    """The images of a split at `indices`, each as `picture(place in the batch, bytes)` makes it.

    `picture` gives pixels of `shape` [h, w, c], or raises `UnreadableImage`: such a row is masked.
    """
    pixels = np.zeros((len(indices), *shape), np.uint8)
    mask = np.ones(len(indices), bool)
    for place, index in enumerate(indices):
        try:
            pixels[place] = picture(place, split.records[int(index)])
        except preprocessing.UnreadableImage:
            mask[place] = False
    labels = split.labels[indices].astype(np.int32)
    return Batch(pixels, labels, indices.astype(np.int32), mask)
