"""Damage inside a JPEG 2000 file, as far as its markers show it (ISO/IEC 15444-1, annex A)."""

from collections.abc import Iterator

import numpy as np

_CODE = b"\xff\x4f\xff\x51"  # a code begins, and its size follows
_TILE_PART, _DATA = b"\xff\x90", b"\xff\x93"
_PACKET = (0x91, 0x92)  # the markers before a packet and behind its header
_LEAST = 0x90  # behind a byte of ones, from here on: a marker, never data


def damage(encoded: bytes) -> str:
    """What is wrong in the data of a file that can be decoded; empty where nothing is found.

    Found are markers that cannot be there, such as another file's bytes have. Zeros, and a few
    wrong bits, look like data.
    """
    for data in _data(encoded):
        values = np.frombuffer(data, np.uint8)
        behind = values[np.flatnonzero(values[:-1] == 0xFF) + 1]
        if bool(np.any((behind >= _LEAST) & ~np.isin(behind, _PACKET))):
            return "a marker inside the image's data"
    return ""


def _data(encoded: bytes) -> Iterator[bytes]:
    """The data of each part of a tile, as far as the headers can be followed."""
    at, end = encoded.find(_CODE) + 2, 0
    while 2 <= at <= len(encoded) - 4:
        marker = encoded[at : at + 2]
        if marker == _TILE_PART:
            length = int.from_bytes(encoded[at + 6 : at + 10])
            if not length:
                return  # up to the end of the code: this one does not say where that is
            end = at + length
        if marker == _DATA:
            yield encoded[at + 2 : end]
            at = max(end, at + 2)
        elif marker[0] == 0xFF:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4])
        else:
            return
