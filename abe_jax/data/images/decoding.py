"""From the bytes of an image file to its pixels, upright, whatever the format.

OpenCV decodes. What it does not handle is done here: the orientation of PNG, WebP and AVIF files,
transparency, and more than 8 bits. A form that it reads wrongly is read by another: docs/PIXELS.md
names the reader of each. Of an animation the first image is taken.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import (
    MOST_PIXELS,
    UnreadableImage,
    by_pillow,
    depth,
    headers,
    heif,
    jpeg,
    tiff,
    uncompressed,
    upright,
)

PADDING_COLOUR = 0  # black, in every channel: beside an image, round a crop, under transparency

# OpenCV reports damaged files on stderr; here they are counted and named instead.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_JPEG_END = b"\xff\xd9"
_COLOUR = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_GREY = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class Reduced(NamedTuple):
    """An image's pixels, or fewer of them, and its own height and width, all upright."""

    image: UInt8[np.ndarray, "h w c"]
    height: int
    width: int


def pixels(encoded: bytes, channels: int = 3) -> UInt8[np.ndarray, "h w c"]:
    """The image as it is stored, RGB or grey, upright; 16 bits become 8.

    Transparency shows PADDING_COLOUR.

    Raises:
        UnreadableImage: the bytes cannot be decoded in full, or have more than MOST_PIXELS.
    """
    return reduced(encoded, channels, lambda height, width: 1.0).image


def reduced(encoded: bytes, channels: int, excess: Callable[[int, int], float]) -> Reduced:
    """`pixels`, but fewer of a JPEG file where a smaller image is enough.

    `excess(height, width)` says how many times larger than needed an image of these sides, in px,
    is (the two may be swapped: it is asked before the image is turned upright). One of twice, four
    or eight times is decoded at a half, a quarter or an eighth of its size, sides rounded up.

    Raises:
        UnreadableImage: as `pixels`.
    """
    if not encoded:
        raise UnreadableImage("an empty file")
    size = headers.stored(encoded)
    if size is not None and not 1 <= size[0] * size[1] <= MOST_PIXELS:
        raise UnreadableImage(f"an image of {size[1]} x {size[0]} px")
    factor = 1
    if encoded.startswith(headers.JPEG):
        if size:
            factor = max(known for known in _COLOUR if known <= max(1, excess(*size)))
        image = _jpeg(encoded, channels, factor)
    else:
        image = _other(encoded, channels)
    height, width = image.shape[:2]
    if size is not None and factor > 1:
        turned = (height, width) != tuple(-(-side // factor) for side in size)
        height, width = size[::-1] if turned else size
    return Reduced(image.reshape(*image.shape[:2], channels), height, width)


def _jpeg(encoded: bytes, channels: int, factor: int) -> np.ndarray:
    # OpenCV 4 fills what is missing of a truncated JPEG with grey (5 refuses it). The end marker
    # cannot occur inside the image's data, but can in a thumbnail, which comes early: one that
    # comes as early is looked at more closely, since much may stand behind a whole image.
    if encoded.rfind(_JPEG_END) < len(encoded) // 2 and not jpeg.has_end(encoded):
        raise UnreadableImage("a JPEG file that ends too early")
    # Four colours count as Adobe's programs store them, inverted, marked so or not, as in Pillow.
    if channels == 1:
        return _imdecode(encoded, _GREY[factor])
    return cv2.cvtColor(_imdecode(encoded, _COLOUR[factor]), cv2.COLOR_BGR2RGB)


def _other(encoded: bytes, channels: int) -> np.ndarray:
    image = _upright(encoded)
    image = image.reshape(*image.shape[:2], -1)
    if image.shape[2] in (2, 4):
        image = _without_alpha(image)
    if image.shape[2] == channels:
        return image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if channels == 3 else cv2.COLOR_BGR2GRAY)


def _upright(encoded: bytes) -> UInt8[np.ndarray, "h w ..."]:
    """Grey or BGR, with alpha where colours are not multiplied by it yet."""
    if heif.is_heif(encoded):
        return heif.read(encoded)
    plain = uncompressed.read(encoded)
    if plain is not None:
        return plain
    if encoded.startswith(headers.TIFF):
        return _tiff(encoded)
    if encoded.startswith(headers.JPEG_2000) and by_pillow.is_better_of_jpeg_2000(encoded):
        return by_pillow.read(encoded)
    stored = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
    greatest = 2 ** headers.bits(encoded) - 1 if stored.dtype == np.uint16 else 255
    image = depth.eight_bits(stored, greatest)
    level = headers.transparent_grey(encoded)
    if level is not None and stored.ndim == 2:
        image = np.dstack([image, 255 * (stored != level).astype(np.uint8)])
    return upright.turned(image, headers.orientation(encoded))


def _tiff(encoded: bytes) -> np.ndarray:
    image = tiff.read(encoded)
    if image is not None:
        return depth.eight_bits(image, 65535)
    header = headers.opened(encoded)
    if header is not None and header.mode == "LA":  # OpenCV gives only the grey
        return by_pillow.read(encoded)
    try:
        stored = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
    except UnreadableImage:
        if header is None or header.mode not in by_pillow.MODES:
            raise
        return by_pillow.read(encoded)  # small tiles of 8 bits, grey of 2 or 4 bits
    image = depth.eight_bits(stored, 65535)
    if image.ndim == 3 and image.shape[2] == 4 and tiff.is_mixed(encoded, stored.dtype):
        return image[..., :3]
    return image


def _without_alpha(image: np.ndarray) -> np.ndarray:
    alpha = image[..., -1:].astype(np.uint16)
    mixed = image[..., :-1] * alpha + PADDING_COLOUR * (255 - alpha) + 127  # 255 is odd: no tie
    return (mixed // 255).astype(np.uint8)


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise UnreadableImage(error.err) from error
    if image is None:
        raise UnreadableImage("in no format that OpenCV knows, or not complete")
    return image
