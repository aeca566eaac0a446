"""JSON as fields of dataclasses: each value is checked by the type that its field is given.

A type is a dataclass; `str`, `float` or `int`, bare or Annotated by its least and greatest value
(`abe_jax.bounds`), its choices or its pattern; a list of a type (`tuple[T, ...]`), a `Mapping` of
text to it, or a union of types. No field is optional; what may be absent is null.
"""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from abe_jax.errors import ArgumentError

WORDS = {int: "a whole number", float: "a number", str: "text", types.NoneType: "null"}
_KINDS = {int: (int,), float: (int, float), str: (str,), types.NoneType: (types.NoneType,)}


class Pattern(NamedTuple):
    """What a text must match from end to end, and the words for that."""

    expression: str
    words: str


@functools.cache
def hints(cls: type) -> Mapping[str, Any]:
    """A dataclass's fields with their types."""
    found = typing.get_type_hints(cls, include_extras=True)
    return {field.name: found[field.name] for field in dataclasses.fields(cls)}


def checked(expected: Mapping[str, Any], content: Any, where: str = "") -> dict[str, Any]:
    """The values of an object that has exactly the fields `expected`, each of its type.

    Raises:
        ArgumentError: names the first field that is wrong, below `where`; its text goes on with
            "must be ...", "is missing" or "is no field of it".
    """
    if not isinstance(content, dict):
        raise ArgumentError(where, "must be an object")
    full = {
        name: f"{where}.{name}" if where else name for name in map(_short, (*expected, *content))
    }
    for name in expected:
        if name not in content:
            raise ArgumentError(full[name], "is missing")
    for name in content:
        if name not in expected:
            raise ArgumentError(full[_short(name)], "is no field of it")
    return {name: value(hint, content[name], full[name]) for name, hint in expected.items()}


def value(hint: Any, given: Any, where: str) -> Any:
    """A value of the type `hint`. Raises ArgumentError as `checked`."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint(**checked(hints(hint), given, where))
    if origin is tuple:
        if not isinstance(given, list):
            raise ArgumentError(where, "must be a list")
        return tuple(value(parts[0], one, f"{where}.{i}") for i, one in enumerate(given))
    if origin is Mapping:
        if not isinstance(given, dict):
            raise ArgumentError(where, "must be an object")
        named = ((name, one, f"{where}.{_short(name)}") for name, one in given.items())
        return {name: value(parts[1], one, at) for name, one, at in named}
    if origin in (typing.Union, types.UnionType):
        return _one_of(parts, given, where)
    if origin is typing.Annotated:
        return _within(parts[1:], value(parts[0], given, where), where)
    if type(given) not in _KINDS[hint]:  # True is no number here
        raise ArgumentError(where, f"must be {WORDS[hint]}")
    return given


def _one_of(options: tuple[Any, ...], given: Any, where: str) -> Any:
    """Of null and one type, that type's own words; of several, all their names."""
    if given is None and types.NoneType in options:
        return None
    others = [option for option in options if option is not types.NoneType]
    if len(others) == 1:
        return value(others[0], given, where)
    if not any(type(given) in _KINDS[option] for option in others):
        raise ArgumentError(where, f"must be {' or '.join(WORDS[option] for option in others)}")
    return given


def _within(limits: tuple[Any, ...], given: Any, where: str) -> Any:
    if isinstance(limits[0], Pattern):
        if not re.fullmatch(limits[0].expression, given):
            raise ArgumentError(where, f"must be {limits[0].words}")
    elif isinstance(limits[0], tuple):
        if given not in limits[0]:
            *first, last = limits[0]
            raise ArgumentError(where, f"must be {', '.join(first)} or {last}")
    elif not limits[0] <= given <= limits[1]:
        raise ArgumentError(where, f"must be from {limits[0]} to {limits[1]}")
    return given


def _short(name: str) -> str:
    """A name that somebody else chose, as a few characters of one line."""
    return ascii(name[:60])[1:-1]
