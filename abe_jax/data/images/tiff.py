"""TIFF files: which form OpenCV reads rightly, and how the others are read.

OpenCV (5.0) takes the first plane of 16 bits for all, knows no white that is zero there, no alpha
beside grey, no four colours, and no more than four samples. Such a file is given to it with other
tags, as a grey image whose rows are the samples of a pixel side by side, or plane by plane: its
libtiff decompresses, and what the samples mean is decided here (TIFF 6.0, sections 6, 14, 16, 18).
"""

import struct
from collections.abc import Container
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from abe_jax.data.images import UnreadableImage, headers
from abe_jax.data.images.upright import turned

# Tags, and values of theirs.
_WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 258, 259, 262, 274
_SAMPLES, _PLANES, _PREDICTOR, _TILE_WIDTH, _EXTRA, _FORMAT = 277, 284, 317, 322, 338, 339
_PARTS = ((273, 279), (324, 325))  # where strips or tiles begin, and their lengths
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
# Tags that a file keeps where it is read as grey: size, compression, order of bits, parts.
_KEPT = (256, 257, 259, 266, 273, 278, 279, _PREDICTOR, 322, 323, 324, 325)
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # photometric: white is zero, grey, RGB, CMYK
_LOSSLESS = {1, 5, 8, 32773, 32946}  # none, LZW, deflate, PackBits, deflate by its older number
_DEPTHS = (8, 10, 12, 14, 16)


class Form(NamedTuple):
    """How the samples of a file are stored, and what they mean."""

    bits: int
    samples: int
    photometric: int
    extra: tuple[int, ...] | None  # what those beside the colours are; None: not said
    planar: bool

    @property
    def alpha(self) -> int | None:
        """Which sample is alpha; where the file says nothing, that behind the colours."""
        colours = _COLOURS.get(self.photometric, 3)
        if self.extra is None:
            return colours if self.samples > colours else None
        kinds = [kind in (ASSOCIATED, UNASSOCIATED) for kind in self.extra]
        return colours + kinds.index(True) if any(kinds) else None

    @property
    def is_misread(self) -> bool:
        """Whether OpenCV reads it otherwise than it is meant, or not at all."""
        if self.samples > 4 or (self.planar and self.samples > 1 and self.bits > 8):
            return True
        grey_with_alpha = self.photometric in (0, 1) and self.samples == 2
        return self.bits > 8 and (self.photometric in (0, 5) or grey_with_alpha)


def form(encoded: bytes) -> Form | None:
    """The form of a file whose samples are read here if need be; None for all others."""
    tags = headers.tags(encoded)
    if tags is None:
        return None
    bits = set(tags.get(_BITS, (1,)))
    samples, photometric = tags.get(_SAMPLES, 1), tags.get(_PHOTOMETRIC)
    plain = tags.get(_COMPRESSION, 1) in _LOSSLESS and set(tags.get(_FORMAT, (1,))) == {1}
    if not (plain and photometric in _COLOURS and len(bits) == 1 and bits <= {*_DEPTHS}):
        return None
    if not _COLOURS[photometric] <= samples <= 64:
        return None
    extra = tags.get(_EXTRA)
    planar = tags.get(_PLANES, 1) == 2
    return Form(bits.pop(), samples, photometric, None if extra is None else tuple(extra), planar)


def read(encoded: bytes) -> np.ndarray | None:
    """Grey or BGR, upright, 8 or 16 bits; with alpha where colours are not multiplied by it yet.

    None for a form that OpenCV reads rightly.

    Raises:
        UnreadableImage: the file is not complete or damaged.
    """
    found = form(encoded)
    if found is None or not found.is_misread:
        return None
    tags = headers.tags(encoded)
    assert tags is not None
    try:
        if found.planar and found.samples > 1:
            stored = _planes(encoded, tags, found.samples)
        else:
            stored = _side_by_side(encoded, tags, found.samples)
    except (KeyError, TypeError, ValueError, struct.error) as error:  # tags that do not fit
        raise UnreadableImage(f"a TIFF file of tags that do not fit: {error}") from error
    orientation = tags.get(_ORIENTATION, 1)
    image = _meant(stored, found)
    return turned(image, orientation if orientation in range(1, 9) else 1)


def is_mixed(encoded: bytes, depth: np.dtype) -> bool:
    """Whether of four samples that OpenCV gives the last is no alpha, or is in the colours already.

    It gives colours of 8 bits multiplied by their alpha, as transparency over black looks.
    """
    extra = (headers.tags(encoded) or {}).get(_EXTRA)
    if not extra:
        return False  # nothing is said: it is taken for alpha
    return extra[0] in (UNSPECIFIED, ASSOCIATED) or (extra[0] == UNASSOCIATED and depth == np.uint8)


def _meant(stored: np.ndarray, found: Form) -> np.ndarray:
    """Grey or BGR of samples [h, w, n]."""
    colours, full = _COLOURS[found.photometric], np.iinfo(stored.dtype).max
    image = stored[..., :colours]
    if found.photometric == 0:
        image = full - image
    elif found.photometric == 5:
        ink = full - image.astype(np.uint32)
        image = ((ink[..., :3] * ink[..., 3:] + full // 2) // full).astype(stored.dtype)
    image = image[..., ::-1]
    if found.alpha is None or (found.extra and ASSOCIATED in found.extra):
        return np.ascontiguousarray(image)
    return np.concatenate([image, stored[..., found.alpha, None]], axis=2)


def _planes(encoded: bytes, tags: ImageFileDirectory_v2, samples: int) -> np.ndarray:
    starts, lengths = _part_tags(tags)
    count = len(tags[starts]) // samples
    planes = []
    for first in range(0, count * samples, count):
        parts = {tag: tags[tag][first : first + count] for tag in (starts, lengths)}
        planes.append(_grey(encoded, tags, parts))
    return np.stack(planes, axis=2)


def _side_by_side(encoded: bytes, tags: ImageFileDirectory_v2, samples: int) -> np.ndarray:
    """Samples [h, w, n] of a file that has them pixel by pixel."""
    width, tile = tags[_WIDTH], tags.get(_TILE_WIDTH, tags[_WIDTH])
    tiles = -(-width // tile)
    changes = {_WIDTH: tiles * tile * samples, _PREDICTOR: 1}
    if _TILE_WIDTH in tags:
        changes[_TILE_WIDTH] = tile * samples
    stored = _grey(encoded, tags, changes).reshape(-1, tiles, tile, samples)
    if tags.get(_PREDICTOR, 1) == 2:  # each stored as its difference from its left neighbour
        stored = np.cumsum(stored, axis=2, dtype=stored.dtype)
    return stored.reshape(len(stored), -1, samples)[:, :width]


def _part_tags(tags: Container[int]) -> tuple[int, int]:
    """The tags of where strips or tiles begin and of their lengths; KeyError where none is."""
    pair = next((pair for pair in _PARTS if pair[0] in tags), None)
    if pair is None:
        raise KeyError("neither strips nor tiles")
    return pair


def _grey(encoded: bytes, tags: ImageFileDirectory_v2, changes: dict[int, Any]) -> np.ndarray:
    """The file as OpenCV reads it by other tags: one sample for each pixel, black is zero."""
    bits = tags.get(_BITS, (1,))[0]
    new = {tag: tags[tag] for tag in _KEPT if tag in tags}
    new |= {_BITS: bits, _SAMPLES: 1, _PHOTOMETRIC: 1, _PLANES: 1, **changes}
    if new.get(_PREDICTOR) == 1:
        del new[_PREDICTOR]
    starts, lengths = _part_tags(new)
    # What is read there would be the tags that are put behind the file.
    if any(sum(part) > len(encoded) for part in zip(new[starts], new[lengths], strict=True)):
        raise UnreadableImage("a TIFF file that ends too early")
    made = _with_tags(encoded, new)
    try:
        image = cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnreadableImage(error.err) from error
    if image is None or image.ndim != 2:
        raise UnreadableImage("a TIFF file that is not complete, or damaged")
    return image


def _with_tags(encoded: bytes, tags: dict[int, Any]) -> bytes:
    """The file with these tags alone, behind it: its header then points there."""
    order, is_big = "<" if encoded.startswith(b"II") else ">", headers.is_big_tiff(encoded)
    number, count, kind = ("Q", "Q", 16) if is_big else ("I", "H", 4)
    room = struct.calcsize(order + number)
    place = len(encoded) + -len(encoded) % 2
    behind = place + struct.calcsize(order + count) + len(tags) * (4 + 2 * room) + room
    entries, lists = [struct.pack(order + count, len(tags))], b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"{order}{len(values)}{number}", *values)
        if len(values) > 1:
            where, lists = behind + len(lists), lists + packed
            packed = struct.pack(order + number, where)
        entries.append(struct.pack(order + "HH" + number, tag, kind, len(values)) + packed)
    head = encoded[: 8 if is_big else 4] + struct.pack(order + number, place)
    padding = bytes(-len(encoded) % 2)
    return b"".join([head, encoded[len(head) :], padding, *entries, bytes(room), lists])
