"""From the bytes of an image file to its pixels, upright, whatever the format.

OpenCV decodes. What it does not handle is done here: the orientation of PNG, WebP and AVIF files,
transparency, 16 bits, and grey TIFF and PNG files with alpha. Of an animation the first image is
taken.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import MOST_PIXELS, headers

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
# OpenCV's codes: 1 mirrors left to right, 0 top to bottom; from orientation 5 on of a transpose.
_FLIPS = {1: None, 2: 1, 3: -1, 4: 0, 5: None, 6: 1, 7: -1, 8: 0}


class UnreadableImage(Exception):  # noqa: N818 (an outcome that the loader counts, not a failure)
    """The bytes are no whole image that OpenCV can decode, or one of more than MOST_PIXELS."""


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
    # cannot occur inside the image's data, but can in a thumbnail, which comes early.
    if encoded.rfind(_JPEG_END) < len(encoded) // 2:
        raise UnreadableImage("a JPEG file that ends too early")
    # Four colours count as Adobe's programs store them, inverted, marked so or not, as in Pillow.
    if channels == 1:
        return _imdecode(encoded, _GREY[factor])
    return cv2.cvtColor(_imdecode(encoded, _COLOUR[factor]), cv2.COLOR_BGR2RGB)


def _other(encoded: bytes, channels: int) -> np.ndarray:
    image = _with_lost_alpha(encoded)
    if image is None:
        image = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
    depth = image.dtype
    if depth == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)  # rounded; 257 is odd: never a tie
    if image.dtype != np.uint8:
        raise UnreadableImage(f"pixels of type {image.dtype}")
    image = _upright(image, headers.orientation(encoded))
    image = image.reshape(*image.shape[:2], -1)
    if image.shape[2] in (2, 4):
        mixed = image.shape[2] == 4 and _multiplied(encoded, depth)
        image = image[..., :-1] if mixed else _without_alpha(image)
    if image.shape[2] == channels:
        return image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if channels == 3 else cv2.COLOR_BGR2GRAY)


def _with_lost_alpha(encoded: bytes) -> np.ndarray | None:
    """Grey and alpha of the files of which OpenCV gives only the grey."""
    is_tiff = encoded.startswith(headers.TIFF)
    marked_grey = encoded.startswith(headers.PNG) and encoded[25:26] == b"\0" and b"tRNS" in encoded
    if not (is_tiff or marked_grey):
        return None
    header = headers.opened(encoded)
    if header is None or header.mode not in (("LA",) if is_tiff else ("1", "L")):
        return None
    try:
        return np.asarray(header.convert("LA"))
    except Exception as error:  # whatever Pillow raises for damaged pixels
        raise UnreadableImage(str(error)) from error


def _without_alpha(image: np.ndarray) -> np.ndarray:
    alpha = image[..., -1:].astype(np.uint16)
    mixed = image[..., :-1] * alpha + PADDING_COLOUR * (255 - alpha) + 127  # 255 is odd: no tie
    return (mixed // 255).astype(np.uint8)


def _multiplied(encoded: bytes, depth: np.dtype) -> bool:
    """Whether OpenCV gives colours multiplied by their alpha, as transparency over black looks."""
    kind = headers.extra_samples(encoded)
    return kind == headers.ASSOCIATED or (kind == headers.UNASSOCIATED and depth == np.uint8)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in headers.TURNED:
        image = cv2.transpose(image)
    flip = _FLIPS[orientation]
    return image if flip is None else cv2.flip(image, flip)


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise UnreadableImage(error.err) from error
    if image is None:
        raise UnreadableImage("in no format that OpenCV knows, or not complete")
    return image
