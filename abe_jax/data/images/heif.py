"""HEIC and HEIF files, the photographs of phones, through the extra package pillow-heif.

AVIF files are of the same kind but for their code: which of the two a file is, its brands say.
"""

import importlib.util
from typing import Any

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import UnreadableImage

# The brands behind `ftyp` (ISO/IEC 23008-12, section 10): a picture, and a sequence of pictures.
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}
_LONGEST = 512  # bytes of a list of brands that are looked at
_MISSING = "HEIC files are read by the package pillow-heif: pip install 'abe_jax[heic]'"


def is_heif(encoded: bytes) -> bool:
    """Whether the first bytes are those of a HEIF file (an AVIF file is one of its own kind)."""
    found = _brands(encoded)
    return bool(found & _BRANDS) and not found & _AVIF


def is_avif(encoded: bytes) -> bool:
    """Whether the first bytes are those of an AVIF file, which may name its brand behind others."""
    return bool(_brands(encoded) & _AVIF)


def _brands(encoded: bytes) -> frozenset[bytes]:
    """The brand of an ISO media file, and those that it is compatible with."""
    if encoded[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(encoded[:4]), len(encoded), _LONGEST)
    return frozenset(encoded[at : at + 4] for at in (8, *range(16, end - 3, 4)))


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
