"""Batches for training and for embedding, through Grain, sharded by host."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int, UInt8

from abe_jax.data.annotations import Annotations
from abe_jax.data.images.augmentation import Augmentation, Augmented, augmented, check
from abe_jax.data.images.augmentation import placed as placed_image
from abe_jax.data.images.decoding import UnreadableImage
from abe_jax.data.images.points import placed
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError

Pixels = UInt8[np.ndarray, "h w c"] | Augmented


class Batch(NamedTuple):
    """This host's rows of one global batch.

    `mask` is False for rows that are no image: the padding of a last batch, or an image that
    could not be read. Such rows are zeros and take no part in any loss.
    """

    images: UInt8[np.ndarray, "b h w c"]
    labels: Int[np.ndarray, " b"]
    image_ids: Int[np.ndarray, " b"]  # each image's row in its split
    mask: Bool[np.ndarray, " b"]
    annotations: Annotations | None = None  # where the split has some


class Shard(NamedTuple):
    """Which part of each global batch this host loads."""

    index: int = 0
    count: int = 1

    def rows(self, batch: int) -> slice:
        """The rows of a global batch that are this host's."""
        size = batch // self.count
        return slice(self.index * size, (self.index + 1) * size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which training steps are loaded, by how many threads, and this host's share of each."""

    steps: int  # the step behind the last
    start: int = 0
    seed: int = 0  # of the augmentation
    threads: int = 2
    shard: Shard = Shard()  # noqa: RUF009 (immutable)


def training(
    split: Split,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    sample: Callable[[int], Int[np.ndarray, " b"]],
    schedule: Schedule,
) -> Iterator[Batch]:
    """The batches of the scheduled steps; `sample(step)` gives the split's rows of each.

    Each is a pure function of (seed, step), augmentation included, so a run resumed at `start`
    sees what a run that never stopped sees, whatever the number of threads or hosts.

    Raises:
        ArgumentError: an augmentation that the preprocessed images cannot have.
    """
    check(preprocessing, augmentation)
    if split.annotations is not None:
        _check_points(split.annotations, augmentation)
    if not augmentation.swap_points:
        split = dataclasses.replace(split, point_pairs=())
    make = augmented if split.annotations is None else placed_image

    def batch_of(step: int) -> Batch:
        indices = sample(step)
        rows = schedule.shard.rows(len(indices))
        keys = [(schedule.seed, step, row) for row in range(len(indices))[rows]]

        def image(row: int, encoded: bytes) -> Pixels:
            rng = np.random.default_rng(keys[row])
            return make(encoded, preprocessing, augmentation, rng)

        return load(split, indices[rows], _shape(preprocessing), image)

    return prefetched(batch_of, schedule.start, schedule.steps, schedule.threads)


def in_order(
    split: Split,
    preprocessing: Preprocessing,
    batch: int,
    threads: int = 2,
    shard: Shard = Shard(),  # noqa: B008 (immutable)
) -> Iterator[Batch]:
    """Every image once, centre-cropped, in batches of one size; the last is padded."""
    count, shape = len(split.labels), _shape(preprocessing)

    def image(row: int, encoded: bytes) -> Pixels:
        if split.annotations is None:
            return preprocessing.crop(encoded)
        return Augmented(*preprocessing.cropped(encoded), mirrored=False)

    def batch_of(number: int) -> Batch:
        indices = np.arange(number * batch, (number + 1) * batch)[shard.rows(batch)]
        rows = indices[indices < count]
        loaded = load(split, rows, shape, image)
        return _padded(loaded, len(indices))

    return prefetched(batch_of, 0, -(-count // batch), threads)


def images_at(
    split: Split, preprocessing: Preprocessing, rows: Int[np.ndarray, " k"]
) -> UInt8[np.ndarray, "k h w c"]:
    """The images at `rows` as `in_order` gives them; one that cannot be read is black."""
    shape, split = _shape(preprocessing), dataclasses.replace(split, annotations=None)
    return load(split, rows, shape, lambda _, encoded: preprocessing.crop(encoded)).images


def load(
    split: Split,
    rows: Int[np.ndarray, " b"],
    shape: tuple[int, ...],
    image: Callable[[int, bytes], Pixels],
) -> Batch:
    """The images of a split at `rows`, each as `image(row of the batch, bytes)` makes it.

    `image` gives pixels of `shape` [h, w, c], or raises `UnreadableImage`: such a row is masked.
    Where the split has annotations, `image` says as well how each image was placed.
    """
    made: list[Augmented | None] = [None] * len(rows)
    pixels = np.zeros((len(rows), *shape), np.uint8)
    mask = np.ones(len(rows), bool)
    for i, row in enumerate(rows):
        try:
            found = image(i, split.records[int(row)])
            made[i] = found if isinstance(found, Augmented) else None
            pixels[i] = found.image if isinstance(found, Augmented) else found
        except UnreadableImage:
            mask[i] = False
    batch = Batch(pixels, split.labels[rows].astype(np.int32), rows.astype(np.int32), mask)
    if split.annotations is None:
        return batch
    own = split.annotations.rows(rows)
    return batch._replace(annotations=placed(own, made, (shape[0], shape[1]), split.point_pairs))


def prefetched(
    batch_of: Callable[[int], Batch], start: int, stop: int, threads: int
) -> Iterator[Batch]:
    """The batches `start` to `stop` in order, made ahead by so many threads."""
    if stop - start <= 1:  # nothing to be ahead of: one batch of a search, as a rule
        return map(batch_of, range(start, stop))
    import grain  # with Orbax, half a second

    source = grain.MapDataset.source(_BatchSource(batch_of, start, stop))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    return iter(source.to_iter_dataset(options))


class _BatchSource:
    """Random access to batches by number, which is all that Grain needs of a source."""

    def __init__(self, batch_of: Callable[[int], Batch], start: int, stop: int):
        self._batch_of, self._start, self._stop = batch_of, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> Batch:
        return self._batch_of(self._start + int(index))


def _padded(batch: Batch, rows: int) -> Batch:
    """The batch with so many rows: those behind its own are zeros and no images."""
    missing = rows - len(batch.mask)
    return jax.tree.map(lambda x: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)), batch)


def _check_points(annotations: Annotations, augmentation: Augmentation) -> None:
    if augmentation.policy and annotations.points is not None:
        raise ArgumentError(
            "policy",
            f"{augmentation.policy!r} turns and shears images, which their points would not "
            "follow; leave it empty, and take jitter and lighting",
        )


def _shape(preprocessing: Preprocessing) -> tuple[int, int, int]:
    return *preprocessing.shape, preprocessing.channels
