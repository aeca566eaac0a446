"""Writes the bytes of PyTorch's checkpoints without PyTorch, opcode by opcode."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
BUILD, REDUCE = b"b", b"R"


def named(module: str, name: str) -> bytes:
    """The opcode that asks for a name of a module."""
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    """A string."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    """An integer."""
    return b"J" + struct.pack("<i", value)


def several(*values: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(values) + b"t"


def numbers(values: Sequence[int]) -> bytes:
    """A tuple of integers."""
    return several(*map(number, values))


def called(module: str, name: str, *values: bytes) -> bytes:
    """A name of a module, called."""
    return named(module, name) + several(*values) + REDUCE


def mapping(items: Mapping[str, bytes]) -> bytes:
    """An ordered dictionary that bears an attribute, as those of networks do."""
    filled = b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u"
    attributes = b"}" + b"(" + text("_metadata") + b"}" + b"u"
    return called("collections", "OrderedDict") + filled + attributes + BUILD


def storage(kind: str, key: str, count: int) -> bytes:
    """A reference to a storage."""
    place = (text("storage"), named("torch", kind), text(key), text("cpu"), number(count))
    return several(*place) + b"Q"


def tensor(of: bytes, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> bytes:
    """A view of a storage."""
    hooks = called("collections", "OrderedDict")
    views = (of, number(offset), numbers(shape), numbers(strides), b"\x89", hooks)
    return called("torch._utils", "_rebuild_tensor_v2", *views)


def pickled(body: bytes) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + body + b"."


def archive(body: bytes, storages: Mapping[str, bytes], byteorder: str = "little") -> bytes:
    """The format since 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("net/data.pkl", pickled(body))
        made.writestr("net/byteorder", byteorder)
        for key, data in storages.items():
            made.writestr(f"net/data/{key}", data)
    return file.getvalue()


def stream(body: bytes, storages: Mapping[str, tuple[int, bytes]], little: bool = True) -> bytes:
    """The format before; of every storage the count of its numbers and its bytes."""
    system = {"little_endian": little, "protocol_version": PROTOCOL}
    heads = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, system)]
    keys = pickle.dumps(list(storages), 2)
    data = [struct.pack("<q", count) + data for count, data in storages.values()]
    return b"".join([*heads, pickled(body), keys, *data])
