"""HEIC and HEIF files, the photographs of phones, through the extra package pillow-heif."""

import importlib.util
from typing import Any

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import UnreadableImage

# The brands behind `ftyp` (ISO/IEC 23008-12, section 10): a picture, and a sequence of pictures.
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MISSING = "HEIC files are read by the package pillow-heif: pip install 'abe_jax[heic]'"


def is_heif(encoded: bytes) -> bool:
    """Whether the first bytes are those of a HEIF file (an AVIF file is one of its own kind)."""
    if encoded[4:8] != b"ftyp" or encoded[8:12] not in _BRANDS:
        return False
    length = int.from_bytes(encoded[:4])
    return b"avif" not in encoded[8 : min(length, 256)]


def missing(encoded: bytes) -> str:
    """Which package would read the file, one sentence; empty if it is there or none is needed."""
    if not is_heif(encoded):
        return ""
    return "" if importlib.util.find_spec("pillow_heif") else _MISSING


def size(encoded: bytes) -> tuple[int, int] | None:
    """Height and width in px; None where the header says none, or nothing here reads it."""
    try:
        width, height = _opened(encoded).size
    except UnreadableImage:
        return None
    return height, width


def exif(encoded: bytes) -> bytes:
    """The EXIF data as they are stored; empty where there are none, or nothing here reads them."""
    try:
        return _opened(encoded).info.get("exif") or b""
    except UnreadableImage:
        return b""


def read(encoded: bytes) -> UInt8[np.ndarray, "h w ..."]:
    """The main picture, upright, grey or BGR, with alpha if it has one; more bits become 8.

    Raises:
        UnreadableImage: pillow-heif is not installed, or cannot decode the file.
    """
    try:
        picture = _opened(encoded).to_pillow()
        if picture.mode not in ("L", "LA", "RGB", "RGBA"):
            picture = picture.convert(
                "RGBA" if "A" in picture.mode or "a" in picture.mode else "RGB"
            )
        image = np.asarray(picture)
    except UnreadableImage:
        raise
    except Exception as error:  # whatever libheif finds in a damaged file
        raise UnreadableImage(str(error)) from error
    if image.ndim == 2 or image.shape[2] == 2:
        return image
    return image[..., [2, 1, 0, 3][: image.shape[2]]]


def _opened(encoded: bytes) -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImage(_MISSING) from None
    try:
        return pillow_heif.open_heif(encoded)
    except Exception as error:  # whatever libheif finds in a damaged header
        raise UnreadableImage(str(error)) from error
