"""Files of safetensors, read by the package of that name."""

import importlib.util
from typing import Any

import jax.numpy as jnp
import numpy as np

from abe_jax.errors import UserError
from abe_jax.pretrained.damage import told
from abe_jax.pretrained.torch_file import Arrays

_PACKAGE = "safetensors"
_TYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def is_safetensors(data: bytes, name: str) -> bool:
    """Whether a file is called so, or begins with a header in JSON and the header's length."""
    return name.endswith(".safetensors") or data[8:10] == b'{"'


def arrays(data: bytes, name: str) -> Arrays:
    """The tensors by their names; bfloat16 becomes float32, other types stay.

    Raises:
        UserError: the package is not installed, or the file is damaged or of another type of
            numbers.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise UserError(
            f"{name}: the package that reads such files is missing: pip install {_PACKAGE}"
        )
    import safetensors

    with told(name, ".safetensors"):
        return {key: _array(key, stored) for key, stored in safetensors.deserialize(data)}


def _array(key: str, stored: dict[str, Any]) -> np.ndarray:
    if stored["dtype"] not in _TYPES:
        raise UserError(f"{key} has numbers of type {stored['dtype']}, which cannot be read")
    array = np.frombuffer(stored["data"], _TYPES[stored["dtype"]]).reshape(stored["shape"])
    return array.astype(np.float32) if stored["dtype"] == "BF16" else array
