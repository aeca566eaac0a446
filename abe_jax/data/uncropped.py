"""Uncropped images in batches of exactly one shape, for evaluation without a crop.

The longest side becomes `longest` px and the other the nearest multiple of `step` px, so that few
shapes exist and each compiles one program. No image is padded: a network without fixed positions
then gives each the vector that it has alone, rounding apart. Padding images to one size and masking
what was added would not: convolutions pad by the parity of a map's sides, and pooling, statistics
and masks would each have to know where the image ends. The price is the aspect: the shorter side
is off by half a step at most (by more only where it would have less than half a step).
Berman et al. (MultiGrain, arXiv 1902.05509) keep the aspect to the pixel and pad instead.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from abe_jax import hosts
from abe_jax.data import loader
from abe_jax.data.images import MOST_PIXELS, decoding, headers, upright
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.split import Split

UNREADABLE = (0, 0)


class PlannedBatch(NamedTuple):
    """One global batch to come: images of one shape; `mask` is False for rows that pad it."""

    shape: tuple[int, int]  # height and width in px
    rows: Int[np.ndarray, " b"]  # of the split
    mask: Bool[np.ndarray, " b"]


def size(encoded: bytes) -> tuple[int, int]:
    """Height and width in px that `decoding.pixels` gives; UNREADABLE where it gives nothing.

    Of JPEG and PNG only the header is looked at; other formats are decoded.
    """
    stored = headers.stored(encoded) if encoded.startswith((headers.JPEG, headers.PNG)) else None
    if stored is not None:
        if not 1 <= stored[0] * stored[1] <= MOST_PIXELS:
            return UNREADABLE
        height, width = stored
        turned = headers.orientation(encoded) in upright.TURNED
        return (width, height) if turned else stored
    try:
        height, width, _ = decoding.pixels(encoded).shape
    except decoding.UnreadableImage:
        return UNREADABLE
    return height, width


def sizes(split: Split, rows: Int[np.ndarray, " r"], threads: int = 2) -> Int[np.ndarray, "r 2"]:
    """`size` of the images at `rows`, each read once."""

    def of_row(row: int) -> tuple[int, int]:
        hosts.at_work()
        return size(split.records[row])

    with ThreadPoolExecutor(threads) as pool:
        read = list(pool.map(of_row, rows.tolist()))
    return np.array(read, np.int32).reshape(-1, 2)


def scaled(height: int, width: int, longest: int, step: int) -> tuple[int, int]:
    """The height and width of an image once its longest side has `longest` px.

    The other side is the nearest multiple of `step`, at least one step and at most `longest`.
    """
    shorter = min(height, width) * longest / max(height, width)
    other = min(longest, max(1, int(shorter / step + 0.5)) * step)
    return (other, longest) if height < width else (longest, other)


def shapes(sizes: Int[np.ndarray, "n 2"], longest: int, step: int) -> Int[np.ndarray, "n 2"]:
    """`scaled` of each row; unreadable images get the commonest shape, so that none is added."""
    readable = (sizes > 0).all(axis=1)
    result = np.full_like(sizes, longest)
    result[readable] = [scaled(int(h), int(w), longest, step) for h, w in sizes[readable]] or 0
    if readable.any():
        different, counts = np.unique(result[readable], axis=0, return_counts=True)
        result[~readable] = different[np.argmax(counts)]
    return result


def plan(shapes: Int[np.ndarray, "n 2"], batch: int, devices: int) -> list[PlannedBatch]:
    """Every row once, in batches of one shape and, for each shape, of one number of rows.

    That number is `batch`, or for a shape of fewer images the least that holds them among
    `devices`, 2 `devices`, 4 `devices` ... A function of its arguments alone: all hosts plan alike.
    """
    planned = []
    for height, width in np.unique(shapes, axis=0).tolist():
        rows = np.flatnonzero((shapes == (height, width)).all(axis=1))
        length = devices
        while length < min(len(rows), batch):
            length *= 2
        length = min(length, batch)
        for start in range(0, len(rows), length):
            indices = np.arange(start, start + length)
            mask = indices < len(rows)
            padded = rows[np.minimum(indices, len(rows) - 1)]
            planned.append(PlannedBatch((height, width), padded, mask))
    return planned


def batches(
    split: Split,
    preprocessing: Preprocessing,
    planned: Sequence[PlannedBatch],
    threads: int = 2,
    shard: loader.Shard = loader.Shard(),  # noqa: B008 (immutable)
) -> Iterator[loader.Batch]:
    """This host's rows of each planned batch, every image in full, without annotations."""
    split = dataclasses.replace(split, annotations=None)

    def batch_of(number: int) -> loader.Batch:
        shape, rows, mask = planned[number]
        own = shard.rows(len(rows))
        loaded = loader.load(
            split,
            rows[own],
            (*shape, preprocessing.channels),
            lambda _, encoded: preprocessing.full(encoded, *shape),
        )
        return loaded._replace(mask=loaded.mask & mask[own])

    return loader.prefetched(batch_of, 0, len(planned), threads)
