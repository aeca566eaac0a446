"""From nested mappings (a ConfigDict, a JSON file) to the frozen schema, and back."""

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any

from abe_jax.bounds import Amount, Pixels, Sides
from abe_jax.config.schema import Config
from abe_jax.errors import ArgumentError, UserError, nearest
from abe_jax.losses import TERMS, Custom, Term

MOST_VALUES = 10_000  # of a list
MOST_CHARACTERS = 4_096  # of a text: no path is longer
MOST_SHOWN = 120  # characters of a value in an error line


def from_mapping(mapping: Mapping[str, Any]) -> Config:
    """The configuration that nested mappings describe; missing names take their defaults.

    Raises:
        UserError: an unknown name, a wrong type or a missing required value, by its full name.
    """
    return _dataclass(Config, mapping, "config")


def to_mapping(config: Config) -> dict[str, Any]:
    """The fully resolved configuration as plain dicts, lists and scalars (JSON-able)."""
    mapping = {
        field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)
    }
    return json.loads(json.dumps(mapping))


def _plain(value: Any) -> Any:
    if isinstance(value, Custom):  # its function stays with the program that gave it
        return {"name": value.name, "weight": value.weight, "custom": True}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _dataclass(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected named values, got {shown(value)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in value:
        if name not in fields:
            raise UserError(f"{where}.{shown_name(name)}: no such name; {nearest(name, fields)}")
    hints = typing.get_type_hints(cls, include_extras=True)
    made = {}
    for name, field in fields.items():
        if name in value:
            made[name] = _value(hints[name], value[name], f"{where}.{name}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}.{name}: missing, and it has no default")
    try:
        return cls(**made)
    except ArgumentError as error:
        raise UserError(f"{where}.{error.argument}: {error.text}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint is Term:
        return _term(value, where)
    if hint == Sides:
        return _sides(value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass(hint, value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where}: expected a list, got {shown(value)}")
        if len(value) > MOST_VALUES:
            raise UserError(f"{where}: {len(value)} values; at most {MOST_VALUES}")
        item = typing.get_args(hint)[0]
        return tuple(_value(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if typing.get_origin(hint) is typing.Annotated:
        base, least, most = typing.get_args(hint)
        return _between(least, most, _scalar(base, value, where), where)
    return _scalar(hint, value, where)


def _sides(value: Any, where: str) -> int | tuple[int, int]:
    """One number, or height and width; a square has one form, the number."""
    if not isinstance(value, list | tuple):
        return _value(Pixels, value, where)
    if len(value) != 2:
        raise UserError(
            f"{where}: {shown(value)}; one number of pixels for both sides, or two: (height, width)"
        )
    height, width = (_value(Pixels, side, f"{where}[{i}]") for i, side in enumerate(value))
    return height if height == width else (height, width)


def _between(least: float, most: float, value: Any, where: str) -> Any:
    if not value >= least:
        raise UserError(f"{where}: {shown(value)} is too small; at least {least:g}")
    if value > most:
        raise UserError(f"{where}: {shown(value)} is too large; at most {most}")
    return value


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value)
    if type(value) is not hint:
        raise UserError(f"{where}: expected {hint.__name__}, got {shown(value)}")
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        raise UserError(f"{where}: {len(value)} characters; at most {MOST_CHARACTERS}")
    if value != value:  # NaN, which no bound keeps out
        raise UserError(f"{where}: {value} is no number")
    return value


def _float(value: int) -> float:
    """A whole number as a float; one that no float holds is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _term(value: Any, where: str) -> Term:
    if not isinstance(value, Mapping) or "name" not in value:
        raise UserError(f"{where}: a term of the objective needs a name")
    name = value["name"]
    if not isinstance(name, str):
        raise UserError(f"{where}.name: expected str, got {shown(name)}")
    if value.get("custom") is True:
        return _custom(name, value, where)
    if name not in TERMS:
        raise UserError(f"{where}.name: no loss is called {shown(name)}; {nearest(name, TERMS)}")
    return _dataclass(TERMS[name], value, where)


def shown(value: Any) -> str:
    """A value as an error line shows it: on one line, and cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # a number of thousands of digits; lists in lists
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def shown_name(name: Any) -> str:
    """A name that nobody knows, as it was written if it can be read."""
    text = str(name)
    return text if text.isprintable() and len(text) <= MOST_SHOWN else shown(name)


def _custom(name: str, value: Mapping[str, Any], where: str) -> Custom:
    weight = _value(Amount, value.get("weight", 1.0), f"{where}.weight")
    try:
        return Custom(name=name, weight=weight, function=absent)
    except ArgumentError as error:
        raise UserError(f"{where}.{error.argument}: {error.text}") from None


def absent(*_: Any) -> float:
    """Stands for a loss that is a function of the program that trained a run; see checks.py."""
    return 0.0
