"""Forms that Pillow reads rightly and OpenCV does not."""

import struct

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import UnreadableImage, depth, headers

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")  # of 8 bits and less
_YCC = b"colr\x01\0\0" + struct.pack(">I", 18)  # JPEG 2000's luma and chroma (15444-1, I.5.3.3)


def is_better_of_jpeg_2000(encoded: bytes) -> bool:
    """Whether a JPEG 2000 file is grey with alpha, has luma and chroma, or less than 8 bits."""
    if headers.bits(encoded) < 8 or _YCC in encoded:
        return True
    header = headers.opened(encoded)
    return header is not None and header.mode == "LA"


def read(encoded: bytes) -> UInt8[np.ndarray, "h w ..."]:
    """Grey or BGR, with alpha if there is one.

    Raises:
        UnreadableImage: Pillow cannot decode the file.
    """
    image = _read(encoded)
    if encoded.startswith(headers.JPEG_2000) and (bits := headers.bits(encoded)) < 8:
        return depth.eight_bits(image >> (8 - bits), 2**bits - 1)  # Pillow moves them up
    return image


def _read(encoded: bytes) -> UInt8[np.ndarray, "h w ..."]:
    try:
        picture = headers.opened(encoded)
        if picture is None:
            raise UnreadableImage("in no format that Pillow knows, or not complete")
        if picture.mode == "1":
            return np.asarray(picture.convert("L"))
        if picture.mode in ("L", "LA"):
            return np.asarray(picture)
        has_alpha = picture.mode in ("PA", "RGBA") or "transparency" in picture.info
        image = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
    except UnreadableImage:
        raise
    except Exception as error:  # whatever Pillow raises for damaged pixels
        raise UnreadableImage(str(error)) from error
    return np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])
