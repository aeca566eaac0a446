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
    """What `cut` does: a box, what its numbers are multiplied by, and the square's side in px."""

    box: Box
    scales: tuple[float, float]
    size: int


def resized(image: UInt8[np.ndarray, "h w c"], width: int, height: int) -> np.ndarray:
    """The image resampled: areas averaged where it shrinks, else interpolated linearly."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).reshape(height, width, -1)


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle square of an image."""
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def padded(image: np.ndarray, side: int) -> np.ndarray:
    """The image in the middle of a square of PADDING_COLOUR."""
    height, width, channels = image.shape
    if height == width == side:
        return image
    square = np.full((side, side, channels), PADDING_COLOUR, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def cut(
    image: UInt8[np.ndarray, "h w c"], box: Box, scales: tuple[float, float], size: int
) -> UInt8[np.ndarray, "size size c"]:
    """The box of an image, its numbers times `scales`, resampled to a square of `size` px.

    Outside of the image the box shows PADDING_COLOUR. Only what is inside is cut out
    and resampled, to whole pixels of the square: a box may be much larger than a thin image.
    """
    rows, above, height = _inside(box.top, box.height, scales[0], image.shape[0], size)
    columns, before, width = _inside(box.left, box.width, scales[1], image.shape[1], size)
    if height == width == size:
        return resized(image[rows, columns], size, size)
    square = np.full((size, size, image.shape[2]), PADDING_COLOUR, np.uint8)
    if height and width:
        part = resized(image[rows, columns], width, height)
        square[above : above + height, before : before + width] = part
    return square


def placement(sides: Sequence[int], done: Cutting) -> Placement:
    """Where the pixels of an image of height and width `sides` lie in what `cut` makes of it."""
    box, scales, size = done
    axes = []
    for start, length, scale, side in (
        (box.left, box.width, scales[1], sides[1]),
        (box.top, box.height, scales[0], sides[0]),
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
    """Along one axis: the image's pixels inside the box, their offset and length in the square."""
    first, count = round(start * scale), max(1, round(length * scale))
    low, high = max(0, first), min(side, first + count)
    if low >= high:
        return slice(0, 0), 0, 0
    offset = min(size - 1, round((low - first) * size / count))
    return slice(low, high), offset, max(1, round((high - first) * size / count) - offset)


def random_box(side: int, scale: tuple[float, ...], rng: np.random.Generator) -> Box:
    """The box of a crop whose area is a uniform share of a square image.

    The aspect is log-uniform between 3/4 and 4/3 (Szegedy et al., CVPR 2015, section 6). The
    first of ten draws that fits into the image is taken, or else the full image.
    """
    shares = rng.uniform(scale[0], scale[1], _TRIES)
    aspects = np.exp(rng.uniform(-_LOG_ASPECT, _LOG_ASPECT, _TRIES))
    position = rng.random(2)
    widths = np.rint(side * np.sqrt(shares * aspects)).astype(int)
    heights = np.rint(side * np.sqrt(shares / aspects)).astype(int)
    fitting = np.flatnonzero((widths <= side) & (heights <= side))
    if not len(fitting):
        return Box(0, 0, side, side)
    height, width = max(1, int(heights[fitting[0]])), max(1, int(widths[fitting[0]]))
    top, left = (position * (side + 1 - np.array([height, width]))).astype(int).tolist()
    return Box(top, left, height, width)
