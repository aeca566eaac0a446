"""Caffe's .caffemodel files read without Caffe: the layers' blobs out of the protocol buffer."""

from collections.abc import Iterator

import numpy as np

from abe_jax.errors import UserError
from abe_jax.pretrained.damage import told
from abe_jax.pretrained.torch_file import Arrays

# Numbers of fields in caffe.proto.
_LAYER, _OLD_LAYER = 100, 2  # of NetParameter: LayerParameter, V1LayerParameter
_NAME, _BLOBS = {_LAYER: 1, _OLD_LAYER: 4}, {_LAYER: 7, _OLD_LAYER: 6}
_SIDES = (1, 2, 3, 4)  # of BlobProto: num, channels, height, width
_DATA, _SHAPE, _DOUBLES = 5, 7, 8
_DIMENSIONS = 1  # of BlobShape

# Wire types.
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5

Field = tuple[int, int, int | memoryview]  # number, wire type, value


def arrays(data: bytes, name: str) -> Arrays:
    """The blobs of all layers, the i-th of a layer under `LAYER.i`.

    Args:
        data: the file's bytes.
        name: what to call the file in an error.

    Raises:
        UserError: no Caffe model, a damaged one, or one without blobs.
    """
    blobs: Arrays = {}
    with told(name, ".caffemodel"):
        for number, wire, value in _fields(memoryview(data)):
            if number in _NAME and wire == _BYTES:
                assert isinstance(value, memoryview)
                blobs |= _layer(value, _NAME[number], _BLOBS[number])
    if not blobs:
        raise UserError(f"{name}: no .caffemodel, or one without weights")
    return blobs


def _layer(data: memoryview, name_field: int, blobs_field: int) -> Arrays:
    name, blobs = "", []
    for number, wire, value in _fields(data):
        if wire != _BYTES:
            continue
        assert isinstance(value, memoryview)
        if number == name_field:
            name = bytes(value).decode()
        elif number == blobs_field:
            blobs.append(_blob(value))
    return {f"{name}.{i}": blob for i, blob in enumerate(blobs)}


def _blob(data: memoryview) -> np.ndarray:
    sides: dict[int, int] = {}
    shape: list[int] | None = None
    numbers: list[np.ndarray] = []
    for number, wire, value in _fields(data):
        if number in _SIDES and isinstance(value, int):
            sides[number] = value
        elif number == _SHAPE and isinstance(value, memoryview):
            shape = [n for field in _fields(value) for n in _integers(field)]
        elif number in (_DATA, _DOUBLES) and wire != _VARINT:
            assert isinstance(value, memoryview)
            numbers.append(np.frombuffer(value, "<f4" if number == _DATA else "<f8"))
    flat = np.concatenate(numbers) if numbers else np.zeros(0, np.float32)
    if shape is None:
        shape = [sides.get(side, 0) for side in _SIDES] if sides else [len(flat)]
    return flat.astype(np.float32).reshape(shape)


def _integers(field: Field) -> Iterator[int]:
    """The values of a repeated integer of field `_DIMENSIONS`, packed or one by one."""
    number, _, value = field
    if number != _DIMENSIONS:
        return
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        one, at = _varint(value, at)
        yield one


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message; a value is an integer, or the bytes of everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FOUR, _EIGHT):
            size = 4 if wire == _FOUR else 8
        else:
            raise ValueError(f"a field of wire type {wire}")
        if not number or at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The integer that begins at `at`, seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("it ends in the middle of a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
