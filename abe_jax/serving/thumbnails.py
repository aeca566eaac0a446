"""Pictures for the page, made anew from pixels, so that no byte of a file reaches a browser."""

import base64
import os
import stat
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import decoding
from abe_jax.report import pixels
from abe_jax.serving.refused import Refused

SIDE = 320  # pixels of a thumbnail's longer side, twice what is shown, for sharp screens


class Body(NamedTuple):
    """The content of an HTTP response: its media type and its bytes."""

    media: str
    data: bytes


def picture(image: UInt8[np.ndarray, "h w c"], side: int = SIDE) -> Body:
    """The image as JPEG of at most `side` px, or to the pixel as PNG where it is small."""
    longest = max(image.shape[:2])
    if longest <= pixels.SMALL:
        return Body("image/png", pixels.png(image))
    return Body("image/jpeg", pixels.jpeg(pixels.fitted(image, min(side, longest))))


def data_uri(image: UInt8[np.ndarray, "h w c"], side: int = SIDE) -> str:
    """`picture` inside a `src`."""
    media, data = picture(image, side)
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def thumbnail(encoded: bytes) -> Body:
    """An image file as a small picture, in colour and upright.

    Raises:
        Refused: the bytes are no image that can be read.
    """
    try:
        return picture(decoding.reduced(encoded, 3, _excess).image)
    except decoding.UnreadableImage as error:
        raise Refused(404, f"the image cannot be shown: {error}") from error


def _excess(height: int, width: int) -> float:
    """How many times larger than a thumbnail an image is, which shortens the decoding of JPEG."""
    return max(height, width) / SIDE


def stamp(path: str) -> tuple[int, int] | None:
    """What tells a changed file from what it was; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def is_file(path: str) -> bool:
    """Whether a path is a file now."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
