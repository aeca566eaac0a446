"""Files of plain samples that OpenCV reads wrongly: BMP with masks, PNM of any maximum, PAM.

Nothing is compressed there, so an array over the file's bytes is all that reading takes.
"""

import re
import struct

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import MOST_PIXELS, UnreadableImage
from abe_jax.data.images.depth import eight_bits

PAM = b"P7"
_BY_MASKS = (3, 6)  # a BMP file's compression: masks of three colours, with a fourth of alpha
_MASKS_OF_555 = (0x7C00, 0x3E0, 0x1F, 0)
_NUMBER = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d{1,9})")
_PAM_END = re.compile(rb"\nENDHDR[^\n]*\n")


def read(encoded: bytes) -> UInt8[np.ndarray, "h w c"] | None:
    """Grey or BGR, with alpha if there is one; None for what OpenCV reads rightly.

    Raises:
        UnreadableImage: the file is not complete, or says what no such file says.
    """
    if encoded.startswith(b"BM"):
        return _bmp(encoded)
    if encoded.startswith((b"P2", b"P3", b"P5", b"P6")):
        return _pnm(encoded)
    return _pam(encoded) if encoded.startswith(PAM) else None


def pam_size(encoded: bytes) -> tuple[int, int] | None:
    """Height and width in px of a PAM file; None where its header says none."""
    try:
        fields, _ = _pam_header(encoded)
    except UnreadableImage:
        return None
    return int(fields[b"HEIGHT"]), int(fields[b"WIDTH"])


def _bmp(encoded: bytes) -> np.ndarray | None:
    if len(encoded) < 54:
        return None
    start, header, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", encoded, 10)
    masked = compression in _BY_MASKS and bits in (16, 32)
    if header < 40 or not (masked or (bits == 16 and compression == 0)):
        return None
    masks = _MASKS_OF_555
    if masked:
        # They follow the header of 40 bytes, and are the next part of a longer one.
        has_alpha = compression == 6 or header >= 56
        masks = struct.unpack_from("<4I" if has_alpha else "<3I", encoded.ljust(70), 54)
    bottom_up, height = height > 0, abs(height)
    if not 1 <= width * height <= MOST_PIXELS:
        raise UnreadableImage(f"an image of {width} x {height} px")
    row = (width * bits + 31) // 32 * 4
    body = encoded[start : start + row * height]
    if len(body) < row * height:
        raise UnreadableImage("a BMP file that ends too early")
    lines = np.frombuffer(body, np.uint8).reshape(height, row)[:, : width * bits // 8]
    values = np.ascontiguousarray(lines).view(f"<u{bits // 8}").astype(np.uint32)
    red, green, blue, alpha = (*masks, 0)[:4]
    used = (blue, green, red, alpha) if alpha else (blue, green, red)
    image = np.stack([_masked(values, mask) for mask in used], axis=2)
    return image[::-1] if bottom_up else image


def _masked(values: np.ndarray, mask: int) -> np.ndarray:
    """The part of each value that a mask of adjacent bits names, as 0 to 255."""
    shift = (mask & -mask).bit_length() - 1
    greatest = mask >> max(0, shift)
    if not mask or greatest & (greatest + 1):
        raise UnreadableImage("a BMP file with a mask of no adjacent bits")
    part = (values & np.uint32(mask)) >> np.uint32(shift)
    return np.rint(part * (255 / greatest)).astype(np.uint8)


def _pnm(encoded: bytes) -> np.ndarray | None:
    kind, numbers, place = encoded[1] - ord("0"), list[int](), 2
    for _ in range(3):
        found = _NUMBER.match(encoded, place)
        if found is None:
            return None
        place = found.end()
        numbers.append(int(found[1]))
    width, height, greatest = numbers
    if greatest in (255, 65535) or (greatest < 255 and kind in (2, 3)):
        return None
    channels = 3 if kind in (3, 6) else 1
    if kind in (5, 6):
        return _samples(encoded, place + 1, (height, width, channels), greatest)
    count = _count((height, width, channels), greatest)
    words = encoded[place:].split(maxsplit=count)[:count]
    if len(words) < count or not all(word.isdigit() and len(word) < 6 for word in words):
        raise UnreadableImage("a PNM file that ends too early, or holds no numbers")
    stored = np.array(words).astype(np.uint32).clip(max=greatest).astype(np.uint16)
    return eight_bits(stored.reshape(height, width, channels), greatest)[..., ::-1]


def _pam(encoded: bytes) -> np.ndarray:
    fields, start = _pam_header(encoded)
    shape = tuple(int(fields[name]) for name in (b"HEIGHT", b"WIDTH", b"DEPTH"))
    if shape[2] not in range(1, 5):
        raise UnreadableImage(f"a PAM file of {shape[2]} channels")
    image = _samples(encoded, start, shape, int(fields[b"MAXVAL"]))
    return image if shape[2] in (1, 3) else np.concatenate([image[..., 1:], image[..., :1]], axis=2)


def _pam_header(encoded: bytes) -> tuple[dict[bytes, bytes], int]:
    end = _PAM_END.search(encoded, 0, 4096)
    if end is None:
        raise UnreadableImage("a PAM file without the end of its header")
    lines = (line.split(None, 1) for line in encoded[2 : end.start()].splitlines())
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    needed = (b"HEIGHT", b"WIDTH", b"DEPTH", b"MAXVAL")
    if not all(fields.get(n, b"").isdigit() and len(fields[n]) < 10 for n in needed):
        raise UnreadableImage("a PAM file that does not say its size")
    return fields, end.end()


def _count(shape: tuple[int, ...], greatest: int) -> int:
    height, width, channels = shape
    if not 1 <= height * width <= MOST_PIXELS:
        raise UnreadableImage(f"an image of {width} x {height} px")
    if not 1 <= greatest <= 65535:
        raise UnreadableImage(f"samples of 0 to {greatest}")
    return height * width * channels


def _samples(
    encoded: bytes, start: int, shape: tuple[int, ...], greatest: int
) -> UInt8[np.ndarray, "h w c"]:
    """The binary samples behind a header, channels in the opposite order."""
    count, kind = _count(shape, greatest), np.dtype(">u2" if greatest > 255 else "u1")
    if len(encoded) < start + count * kind.itemsize:
        raise UnreadableImage("a PNM file that ends too early")
    stored = np.frombuffer(encoded, kind, count, start).reshape(shape)
    native = stored.astype(kind.newbyteorder("=")).clip(max=greatest)
    return eight_bits(native, greatest)[..., ::-1]
