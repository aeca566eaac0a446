"""What the public losses take: arrays, or what becomes one, in shapes that fit each other."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax.numpy as jnp
from jaxtyping import Array

from abe_jax.errors import ArgumentError

P = ParamSpec("P")
Result = TypeVar("Result")

INTEGERS = ("labels", "domains", "image_ids")  # one for each row
VECTORS = ("vectors", "unnormalised", "features")
PARAMETERS = ("proxies", "kernel", "bias")


def checked(loss: Callable[P, Result]) -> Callable[P, Result]:
    """`loss`, given arrays whatever sequences it is called with, and only those that fit.

    Vectors are numbers [b, d] or [b, m, d]; `labels`, `domains` and `image_ids` are integers [b],
    `mask` booleans [b]. Raises ArgumentError, by the argument's name, for any others.
    """
    signature = inspect.signature(loss)

    @functools.wraps(loss)
    def on_arrays(*args: P.args, **options: P.kwargs) -> Result:
        given = signature.bind(*args, **options)
        rows = None
        for name, value in given.arguments.items():
            if name in VECTORS and not hasattr(value, "vectors"):
                value = _vectors(name, value)
                rows = len(value)
            elif name in VECTORS:
                rows = len(value.vectors)
            elif name in INTEGERS and value is not None:
                value = _of_rows(name, value, rows, jnp.integer, "integers")
            elif name == "mask" and value is not None:
                value = _of_rows(name, value, rows, jnp.bool_, "booleans")
            elif name == "kernels" and value is not None:
                value = tuple(_array(name, kernel, "numbers") for kernel in value)
            elif name in PARAMETERS and value is not None:
                value = _array(name, value, "numbers")
            given.arguments[name] = value
        return loss(*given.args, **given.kwargs)

    return on_arrays


def _array(name: str, value: Any, expected: str) -> Array:
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        raise ArgumentError(name, f"expected {expected}, not {_shown(value)}") from None


def _vectors(name: str, value: Any) -> Array:
    x = _array(name, value, "vectors [b, d] or [b, m, d]")
    if x.ndim not in (2, 3):
        raise ArgumentError(name, f"expected shape [b, d] or [b, m, d], not {_shape(x)}")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def _of_rows(name: str, value: Any, rows: int | None, kind: Any, expected: str) -> Array:
    """One entry for each row of the vectors."""
    x = _array(name, value, f"{expected} [b]")
    if x.ndim != 1 or (rows is not None and len(x) != rows):
        of = "" if rows is None else f" = [{rows}], one for each row of the vectors"
        raise ArgumentError(name, f"expected {expected} of shape [b]{of}, not {_shape(x)}")
    if not jnp.issubdtype(x.dtype, kind):
        raise ArgumentError(name, f"expected {expected}, not {x.dtype}")
    return x


def _shape(x: Array) -> str:
    return str(list(x.shape))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
