"""Cutting, padding and resizing of images [h, w, c]."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images.decoding import PADDING_COLOUR
from abe_jax.data.images.geometry import Placement

_LOG_ASPECT = math.log(4 / 3)  # at most, either way: width to height of crops to be resized
_TRIES = 10


class Box(NamedTuple):
    """A part of an image, in px; it may lie outside."""

    top: int
    left: int
    height: int
    width: int


class Cutting(NamedTuple):
    """What `cut` does: a box, what its numbers are multiplied by, and the result's sides in px."""

    box: Box
    scales: tuple[float, float]  # height, then width
    shape: tuple[int, int]


def resized(image: UInt8[np.ndarray, "h w c"], width: int, height: int) -> np.ndarray:
    """The image resampled: areas averaged where it shrinks, else interpolated linearly."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).reshape(height, width, -1)


def middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of an image, so many px of it."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def largest(height: int, width: int, aspect: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the largest part of an image with the aspect height : width."""
    high, wide = aspect
    if height * wide <= width * high:
        return height, max(1, round(height * wide / high))
    return max(1, round(width * high / wide)), width


def padded(image: np.ndarray, high: int, wide: int) -> np.ndarray:
    """The image in the middle of a frame of PADDING_COLOUR, so many px high and wide."""
    height, width, channels = image.shape
    if (height, width) == (high, wide):
        return image
    frame = np.full((high, wide, channels), PADDING_COLOUR, np.uint8)
    top, left = (high - height) // 2, (wide - width) // 2
    frame[top : top + height, left : left + width] = image
    return frame


def cut(
    image: UInt8[np.ndarray, "h w c"],
    box: Box,
    scales: tuple[float, float],
    shape: tuple[int, int],
) -> UInt8[np.ndarray, "i j c"]:
    """The box of an image, its numbers times `scales`, resampled to `shape`, height and width.

    Both pairs are of height, then width. Outside of the image the box shows PADDING_COLOUR. Only
    what is inside is cut out and resampled, to whole pixels of the result: a box may be much larger
    than a thin image.
    """
    rows, above, height = _inside(box.top, box.height, scales[0], image.shape[0], shape[0])
    columns, before, width = _inside(box.left, box.width, scales[1], image.shape[1], shape[1])
    if (height, width) == shape:
        return resized(image[rows, columns], width, height)
    frame = np.full((*shape, image.shape[2]), PADDING_COLOUR, np.uint8)
    if height and width:
        part = resized(image[rows, columns], width, height)
        frame[above : above + height, before : before + width] = part
    return frame


def placement(sides: Sequence[int], done: Cutting) -> Placement:
    """Where the pixels of an image of height and width `sides` lie in what `cut` makes of it."""
    box, scales, shape = done
    axes = []
    for start, length, scale, side, size in (
        (box.left, box.width, scales[1], sides[1], shape[1]),
        (box.top, box.height, scales[0], sides[0], shape[0]),
    ):
        pixels, offset, shown = _inside(start, length, scale, side, size)
        if shown:
            factor = shown / (pixels.stop - pixels.start)
            axes.append((factor, offset - factor * pixels.start))
        else:  # the box is beside the image
            factor = size / (length * scale)
            axes.append((factor, -factor * start * scale))
    return Placement((axes[0][0], axes[1][0]), (axes[0][1], axes[1][1]))


def _inside(start: int, length: int, scale: float, side: int, size: int) -> tuple[slice, int, int]:
    """Along one axis: the image's pixels inside the box, their offset and length in the result."""
    first, count = round(start * scale), max(1, round(length * scale))
    low, high = max(0, first), min(side, first + count)
    if low >= high:
        return slice(0, 0), 0, 0
    offset = min(size - 1, round((low - first) * size / count))
    return slice(low, high), offset, max(1, round((high - first) * size / count) - offset)


def random_box(
    frame: tuple[int, int],
    aspect: tuple[int, int],
    scale: tuple[float, ...],
    rng: np.random.Generator,
) -> Box:
    """The box of a crop whose area is a uniform share of an image's, both of height, then width.

    The crop's aspect is log-uniform between 3/4 and 4/3 of `aspect`, that of what the crop is
    resized to (Szegedy et al., CVPR 2015, section 6, of squares: so a rectangle is stretched no
    more than they are). The first of ten draws that fits into the image is taken, or else the
    largest part with that aspect, in the middle.
    """
    shares = rng.uniform(scale[0], scale[1], _TRIES)
    aspects = np.exp(rng.uniform(-_LOG_ASPECT, _LOG_ASPECT, _TRIES))
    position = rng.random(2)
    area = frame[0] * frame[1]
    high, wide = math.sqrt(area * aspect[0] / aspect[1]), math.sqrt(area * aspect[1] / aspect[0])
    widths = np.rint(wide * np.sqrt(shares * aspects)).astype(int)
    heights = np.rint(high * np.sqrt(shares / aspects)).astype(int)
    fitting = np.flatnonzero((widths <= frame[1]) & (heights <= frame[0]))
    if not len(fitting):
        height, width = largest(*frame, aspect)
        return Box((frame[0] - height) // 2, (frame[1] - width) // 2, height, width)
    height, width = max(1, int(heights[fitting[0]])), max(1, int(widths[fitting[0]]))
    free = np.array([frame[0] + 1 - height, frame[1] + 1 - width])
    top, left = (position * free).astype(int).tolist()
    return Box(top, left, height, width)
