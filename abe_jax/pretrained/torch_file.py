"""PyTorch's checkpoint files read without PyTorch and without executing what is in them.

Both formats hold a pickle that describes tensors over named storages: a zip archive with
`data.pkl` and one file for each storage (since 1.6), or one stream of five pickles followed by the
storages (before). pickled.py reads the pickle as data: beside tensors, whose names `_MAKERS` lists,
objects of all classes stay what they are written as.
"""

import dataclasses
import functools
import io
import math
import struct
import sys
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from abe_jax.errors import UserError
from abe_jax.pretrained import pickled
from abe_jax.pretrained.archive import Archive, mebibytes
from abe_jax.pretrained.damage import told
from abe_jax.pretrained.wrapped import network

Arrays = dict[str, np.ndarray]
Note = Callable[[str], None]

MOST = 2**31  # bytes of a checkpoint's storages, and of its arrays, where nothing else is said

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a stream
_PROTOCOL = 1001  # the second
_AXES = 8  # at most, of a tensor
_TYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def is_archive(data: bytes) -> bool:
    """Whether `data` begins as a zip archive, which the newer format is."""
    return data.startswith(b"PK\x03\x04")


def arrays(data: bytes, name: str, most: int = MOST, note: Note = lambda _: None) -> Arrays:
    """The tensors of a checkpoint by their names; bfloat16 becomes float32, other types stay.

    A network that lies in a dictionary with other things is looked up there (wrapped.py).

    Args:
        data: the file's bytes.
        name: what to call the file in an error.
        most: bytes that an archive may unpack to, and that the arrays may have.
        note: takes a line that says what else the file holds, if it holds another network.

    Raises:
        UserError: a damaged file, one that is too large, or one of anything but tensors.
    """
    with told(name, "checkpoint of PyTorch"):
        content = _from_archive(data, most) if is_archive(data) else _from_stream(data)
        tensors, said = network(content, lambda value: isinstance(value, _Tensor))
        total = sum(tensor.nbytes for tensor in tensors.values())
        if total > most:
            raise UserError(f"tensors of {mebibytes(total)}, where {mebibytes(most)} are enough")
        made = {key: tensor.array() for key, tensor in tensors.items()}
    if said:
        note(said)
    return made


@dataclasses.dataclass(slots=True)
class _Storage:
    """A named run of numbers, read once a tensor needs them."""

    key: str
    dtype: np.dtype
    read: Callable[[], bytes | memoryview]

    def numbers(self) -> np.ndarray:
        return np.frombuffer(self.read(), self.dtype)


@dataclasses.dataclass(frozen=True, slots=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """What the array takes, more than its storage where the storage is spread over it."""
        return math.prod(self.shape) * max(self.storage.dtype.itemsize, 4)

    def array(self) -> np.ndarray:
        """The numbers, copied, since several tensors can share a storage."""
        numbers, steps = self.storage.numbers(), self.strides
        if len(steps) != len(self.shape):
            raise ValueError(f"a tensor of shape {self.shape} with strides {steps}")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, steps, strict=True))
        if 0 not in self.shape and last >= len(numbers):
            raise ValueError(f"a tensor reaches beyond the {len(numbers)} numbers of its storage")
        start = numbers[0 if 0 in self.shape else self.offset :]
        size = numbers.itemsize
        view = np.lib.stride_tricks.as_strided(start, self.shape, [step * size for step in steps])
        wide = np.float32 if numbers.dtype == jnp.bfloat16 else view.dtype
        return view.astype(wide)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) > _AXES:
        raise ValueError("a tensor of no shape or of no strides")
    for number in (offset, *shape, *strides):
        if not isinstance(number, int) or not 0 <= number < 2**48:
            raise ValueError("a tensor whose place, shape or strides are no numbers")
    return _Tensor(storage, offset, shape, strides)


def _first(tensor: Any, *_: Any) -> Any:
    """The tensor itself of a parameter, without whether it was trained and its hooks."""
    return tensor


def _retyped(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor that carried attributes, without them."""
    if not isinstance(function, pickled.Name) or not isinstance(arguments, tuple):
        raise ValueError("a tensor made of no tensor")
    rebuild = _MAKERS.get((function.module, function.name))
    if rebuild is None or rebuild not in (_tensor, _first):
        return None
    return rebuild(*arguments)


def _ordered(items: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in items:
        pickled.put(made, key, value)
    return made


_MAKERS: pickled.Makers = {
    ("collections", "OrderedDict"): _ordered,
    ("torch", "Size"): lambda sides=(): tuple(sides),
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _retyped,
}


class _Storages(dict[str, _Storage]):
    """The storages that a pickle refers to, by their keys."""

    def __init__(self, read: Callable[[str], bytes | memoryview]):
        super().__init__()
        self._read = read

    def find(self, identity: Any) -> _Storage:
        """The storage that a pickle means by `("storage", type, key, device, count)`."""
        kind, type_, key, _, _, *view = identity
        dtype = _dtype(type_)
        if kind != "storage" or dtype is None:
            raise ValueError("a persistent object that is no storage of numbers")
        if view and view[0] is not None:
            raise ValueError("a view of a storage, as PyTorch wrote it before 0.4")
        key = _key(key)
        if key not in self:
            self[key] = _Storage(key, dtype, functools.cache(functools.partial(self._read, key)))
        if self[key].dtype != dtype:
            raise ValueError(f"storage {key} has two types")
        return self[key]


def _dtype(named: Any) -> np.dtype | None:
    known = isinstance(named, pickled.Name) and named.module in ("torch", "torch.storage")
    return _TYPES.get(named.name) if known else None


def _key(key: Any) -> str:
    if not isinstance(key, str | int) or (isinstance(key, int) and abs(key) > sys.maxsize):
        raise ValueError("a storage without a name")
    return str(key)


def _from_archive(data: bytes, most: int) -> Any:
    archive = Archive(data, most)
    pickles = [n for n in archive.names if n == "data.pkl" or n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UserError("a zip archive, but not one of PyTorch (no data.pkl in it)")
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.names and archive.read(order) != b"little":
        raise UserError("written on a machine of the other byte order")
    storages = _Storages(lambda key: archive.read(f"{folder}data/{key}"))
    return pickled.load(io.BytesIO(archive.read(pickles[0])), _MAKERS, storages.find)


def _from_stream(data: bytes) -> Any:
    file = io.BytesIO(data)
    if pickled.load(file) != _MAGIC or pickled.load(file) != _PROTOCOL:
        raise UserError("no checkpoint of PyTorch")
    if not pickled.load(file)["little_endian"]:
        raise UserError("written on a machine of the other byte order")
    runs: dict[str, memoryview] = {}
    storages = _Storages(lambda key: runs[key])
    content = pickled.load(file, _MAKERS, storages.find)
    for key in pickled.load(file):
        key = _key(key)
        size = struct.unpack("<q", file.read(8))[0] * storages[key].dtype.itemsize
        at = file.tell()
        runs[key] = memoryview(data)[at : at + size]
        if not 0 <= size == len(runs[key]):
            raise ValueError(f"it ends in storage {key}")
        file.seek(at + size)
    return content
