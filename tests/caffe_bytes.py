"""Writes the bytes of a .caffemodel: layers with their blobs, in the ways that Caffe has."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np


def varint(value: int) -> bytes:
    """Seven bits a byte, the least first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a message: an integer, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(
    array: np.ndarray, *, old: bool = False, packed: bool = True, double: bool = False
) -> bytes:
    """BlobProto: with a shape, or the four sides of old."""
    if old:
        sides = (1,) * (4 - array.ndim) + array.shape
        head = b"".join(field(i + 1, side) for i, side in enumerate(sides))
    else:
        dims = b"".join(varint(side) for side in array.shape)
        shape = field(1, dims) if packed else b"".join(field(1, side) for side in array.shape)
        head = field(7, shape)
    letter, number, wire = ("d", 8, 1) if double else ("f", 5, 5)
    if packed:
        return head + field(number, array.astype("<f8" if double else "<f4").tobytes())
    key = varint(number << 3 | wire)
    return head + b"".join(key + struct.pack(f"<{letter}", x) for x in array.ravel())


def model(layers: Mapping[str, Sequence[bytes]], *, old: bool = False) -> bytes:
    """NetParameter of layers with these blobs, as LayerParameter, or V1LayerParameter of old."""
    number, name_field, blobs_field = (2, 4, 6) if old else (100, 1, 7)
    found = [field(1, b"a net")]
    for name, blobs in layers.items():
        kind = field(5, 4) if old else field(2, b"Convolution")
        body = field(name_field, name.encode()) + kind
        found.append(field(number, body + b"".join(field(blobs_field, b) for b in blobs)))
    return b"".join(found)
