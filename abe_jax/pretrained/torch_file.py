"""PyTorch's checkpoint files read without PyTorch and without executing what is in them.

Both formats hold a pickle that describes tensors over named storages: a zip archive with
`data.pkl` and one file for each storage (since 1.6), or one stream of five pickles followed by the
storages (before). The pickle may call only what `_ALLOWED` lists, each replaced by a function of
this file that builds plain data.
"""

import dataclasses
import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from abe_jax.errors import UserError

Arrays = dict[str, np.ndarray]

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a stream
_PROTOCOL = 1001  # the second
_WRAPPERS = ("state_dict", "model", "model_state_dict")  # where checkpoints keep a network
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


def arrays(data: bytes, name: str) -> Arrays:
    """The tensors of a checkpoint by their names; bfloat16 becomes float32, other types stay.

    A network under `state_dict`, `model` or `model_state_dict` is looked up there. The prefix
    `module.`, which every name of a parallel network has, is left out.

    Args:
        data: the file's bytes.
        name: what to call the file in an error.

    Raises:
        UserError: no such file, a damaged one, one of anything but tensors, or one whose pickle
            calls what is not allowed.
    """
    try:
        content = _from_archive(data) if is_archive(data) else _from_stream(data)
        tensors = _network(content)
        made = {key: tensor.array() for key, tensor in tensors.items()}
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # damage can make a pickle fail in every way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: no checkpoint of PyTorch, or a damaged one ({reason})") from None
    if made and all(key.startswith("module.") for key in made):
        made = {key.removeprefix("module."): array for key, array in made.items()}
    return made


class _Allowed:
    """What a pickle may name: callable where `function` is given.

    Without attributes that could be set, for a pickle can set those of all it can name.
    """

    __slots__ = ("_function", "dtype")

    def __init__(self, function: Callable[..., Any] | None = None, dtype: Any = None):
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "dtype", dtype)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UserError("its pickle sets attributes of what it names")

    def __call__(self, *values: Any) -> Any:
        if self._function is None:
            raise UserError("its pickle calls a type of storages")
        return self._function(*values)


class _Dict(dict):
    """An ordered dictionary as PyTorch pickles it; what it bears beside its items is left out."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass  # names of modules' versions


@dataclasses.dataclass(slots=True)
class _Storage:
    """A named run of numbers; of a stream the bytes come after the pickle."""

    key: str
    dtype: np.dtype
    data: bytes = b""

    def numbers(self) -> np.ndarray:
        return np.frombuffer(self.data, self.dtype)


@dataclasses.dataclass(frozen=True, slots=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The numbers, copied, since several tensors can share a storage."""
        numbers, steps = self.storage.numbers(), self.strides
        if len(steps) != len(self.shape) or min((self.offset, *self.shape, *steps)) < 0:
            raise ValueError(f"a tensor of shape {self.shape} with strides {steps}")
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, steps, strict=True))
        if 0 not in self.shape and last >= len(numbers):
            raise ValueError(f"a tensor reaches beyond the {len(numbers)} numbers of its storage")
        start = numbers[0 if 0 in self.shape else self.offset :]
        size = numbers.itemsize
        view = np.lib.stride_tricks.as_strided(start, self.shape, [step * size for step in steps])
        wide = np.float32 if numbers.dtype == jnp.bfloat16 else view.dtype
        return view.astype(wide)


def _tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _Dict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that may name what `_ALLOWED` and `_TYPES` list, and nothing else."""

    def __init__(self, file: io.BytesIO, read: Callable[[str], bytes] | None = None):
        super().__init__(file, encoding="utf-8")
        self._read = read
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> _Allowed:
        if (module, name) in _ALLOWED:
            return _Allowed(_ALLOWED[module, name])
        if module in ("torch", "torch.storage") and name in _TYPES:
            return _Allowed(dtype=_TYPES[name])
        raise UserError(
            f"its pickle asks for {module}.{name}, which tensors do not need; save the "
            "state_dict alone"
        )

    def persistent_load(self, pid: Any) -> Any:
        kind, type_, key, _, _, *view = pid
        if kind != "storage" or type_.dtype is None:
            raise ValueError(f"a persistent object of kind {kind!r}")
        if view and view[0] is not None:
            raise ValueError("a view of a storage, as PyTorch wrote it before 0.4")
        key = str(key)
        if key not in self.storages:
            read = self._read(key) if self._read else b""
            self.storages[key] = _Storage(key, type_.dtype, read)
        if self.storages[key].dtype != type_.dtype:
            raise ValueError(f"storage {key} has two types")
        return self.storages[key]


def _from_archive(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError("a zip archive, but not one of PyTorch (no data.pkl in it)")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise UserError("written on a machine of the other byte order")
        pickled = io.BytesIO(archive.read(pickles[0]))
        return _Unpickler(pickled, lambda key: archive.read(f"{folder}data/{key}")).load()


def _from_stream(data: bytes) -> Any:
    file = io.BytesIO(data)
    if _Unpickler(file).load() != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
        raise UserError("no checkpoint of PyTorch")
    if not _Unpickler(file).load()["little_endian"]:
        raise UserError("written on a machine of the other byte order")
    unpickler = _Unpickler(file)
    content = unpickler.load()
    for key in _Unpickler(file).load():
        storage = unpickler.storages[str(key)]
        size = struct.unpack("<q", file.read(8))[0] * storage.dtype.itemsize
        if not 0 <= size <= sys.maxsize:
            raise ValueError(f"storage {key} has {size} bytes")
        storage.data = file.read(size)
        if len(storage.data) != size:
            raise ValueError(f"it ends in storage {key}")
    return content


def _network(content: Any) -> dict[str, _Tensor]:
    """The tensors of a network, by name, in what was read."""
    if not isinstance(content, Mapping):
        raise UserError(f"holds a {type(content).__name__}, not a state_dict")
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _network(content[wrapper])
    others = [str(key) for key, value in content.items() if not isinstance(value, _Tensor)]
    if others or not content:
        what = f"{', '.join(others[:5])} are no tensors" if others else "it is empty"
        raise UserError(f"no state_dict of a network ({what})")
    return {str(key): value for key, value in content.items()}
