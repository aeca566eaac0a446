"""HEIC and HEIF files, the photographs of phones, through the extra package pillow-heif.

AVIF files are of the same kind but for their code: which of the two a file is, its brands say.
"""

import importlib.util
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import UnreadableImage, jpeg

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


def damage(encoded: bytes) -> str:
    """What is wrong in the data of a file that can be decoded; empty where nothing is found.

    Found are rows of zeros, of which HEVC's data never has three (ITU-T H.265, section 7.4.2).
    Other wrong bits look like data.
    """
    try:
        items = list(_coded_items(encoded))
    except (struct.error, IndexError):
        return ""  # a header for the decoder to judge
    zeros = any(jpeg.has_zeros(encoded[start:end]) for start, end in items)
    return "zeros in the place of the image's data" if zeros else ""


def _coded_items(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Where the data of pictures and tiles begins and ends (ISO/IEC 14496-12, section 8.11)."""
    kinds, pieces = dict[int, bytes](), list[tuple[int, int, int]]()
    for name, start, end in _boxes(encoded, 0, len(encoded)):
        if name != b"meta":
            continue
        for part, at, stop in _boxes(encoded, start + 4, end):
            if part == b"iinf":
                kinds |= _kinds(encoded, at, stop)
            elif part == b"iloc":
                pieces += _pieces(encoded, at)
    yield from ((start, end) for item, start, end in pieces if kinds.get(item) == b"hvc1")


def _boxes(encoded: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The name of each box from `start` to `end`, and where its content begins and ends."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", encoded, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", encoded, start + 8), 16
        size = size or end - start
        if not head <= size <= end - start:
            return
        yield name, start + head, start + size
        start += size


def _kinds(encoded: bytes, start: int, end: int) -> dict[int, bytes]:
    """The type of each item."""
    found = {}
    for _, at, _ in _boxes(encoded, start + (8 if encoded[start] else 6), end):
        form = ">I2x4s" if encoded[at] == 3 else ">H2x4s"
        number, kind = struct.unpack_from(form, encoded, at + 4)
        found[number] = kind
    return found


def _pieces(encoded: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """The number of each item in the file, and where a piece of it begins and ends."""
    at = start + 4

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(encoded):
            raise IndexError
        return int.from_bytes(encoded[at - size : at])

    version, sizes = encoded[start], number(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    for _ in range(number(wide)):
        item = number(wide)
        outside = number(2) & 15 if version else 0  # not counted from the file's beginning
        outside += number(2)
        first = number(base)
        for _ in range(number(2)):
            number(index if version else 0)
            begin = first + number(offset)
            end = begin + number(length)
            if not outside:
                yield item, begin, end


def _opened(encoded: bytes) -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImage(_MISSING) from None
    try:
        return pillow_heif.open_heif(encoded)
    except Exception as error:  # whatever libheif finds in a damaged header
        raise UnreadableImage(str(error)) from error
