"""Config files, overrides from the command line, and the resolved config of a run."""

import ast
import contextlib
import json
import runpy
import traceback
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from abe_jax import files
from abe_jax.config.parse import from_mapping, shown, shown_name, to_mapping
from abe_jax.config.schema import Config
from abe_jax.errors import UserError, nearest


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a config file, changed by overrides such as `model.dim=64`.

    The file defines `get_config()`, which returns an ml_collections ConfigDict. Where it holds
    several rows of a table, `FILE.py:ROW` names one: it defines `ROWS` and `get_config(row)`, whose
    default is the row that `FILE.py` alone stands for.

    Overrides are applied after the defaults have been filled in, so every name of the schema can be
    overridden, also one that the file leaves out. A term of the objective is named by its place or
    its name: `objective.1.weight=0.5`, `objective.divergence.weight=0.5`.

    Raises:
        UserError: no such file, no get_config in it, no such row, an unknown name or a wrong type.
    """
    return overridden(from_mapping(_file_mapping(*files.row_of(path))), overrides)


def overridden(config: Config, overrides: Sequence[str]) -> Config:
    """A configuration changed by overrides as in `load`, errors as there."""
    mapping = to_mapping(config)
    for override in overrides:
        _override(mapping, override)
        mapping = to_mapping(from_mapping(mapping))  # a list given whole has defaults to fill in
    return from_mapping(mapping)


def read_json(path: Path) -> Config:
    """The resolved configuration that a run wrote."""
    try:
        return from_mapping(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: not found; is {path.parent} the folder of a run?") from None
    except (ValueError, RecursionError) as error:  # no JSON, no text at all, or lists in lists
        raise UserError(f"{path}: damaged ({error})") from None


def write_json(config: Config, path: Path) -> None:
    """Writes the resolved configuration, whole or not at all."""
    files.write(path, json.dumps(to_mapping(config), indent=2) + "\n")


def differences(left: Config, right: Config) -> list[str]:
    """What differs between two configurations, as `name: left value, right value`."""
    flat_left, flat_right = _flat(to_mapping(left)), _flat(to_mapping(right))
    names = dict.fromkeys([*flat_left, *flat_right])
    return [
        f"{name}: {flat_left.get(name)!r}, {flat_right.get(name)!r}"
        for name in names
        if flat_left.get(name) != flat_right.get(name)
    ]


def described(config: Config) -> dict[str, Any]:
    """Every value by its full name, but for where the data lies: each host may have a copy."""
    flat = _flat(to_mapping(config))
    return {name: value for name, value in flat.items() if name not in _OF_A_HOST}


_OF_A_HOST = ("config.data.root", "config.data.path")


def _flat(value: Any, where: str = "config") -> dict[str, Any]:
    """Each single value by its full name; lists count as well, which flax's flattening has not."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {where: value}
    return {k: v for name, item in items for k, v in _flat(item, f"{where}.{name}").items()}


def _file_mapping(path: Path, row: str) -> dict[str, Any]:
    files.require(path, "config file")
    with _failures_of(path):
        names = runpy.run_path(str(path))
    if "get_config" not in names:
        raise UserError(f"{path}: no 'get_config' in it; a config file defines get_config()")
    _require_row(path, row, names.get("ROWS", ()))
    with _failures_of(path):
        return _plain(names["get_config"](*([row] if row else [])))


@contextlib.contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:  # of a file that ends the program as well
        at = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{path}: {what} ({at.filename}:{at.lineno})") from None


def _require_row(path: Path, row: str, rows: Collection[str]) -> None:
    if row and not rows:
        raise UserError(f"{path}: one config and no rows; leave out ':{shown_name(row)}'")
    if row and row not in rows:
        raise UserError(f"{path}: no row is called {shown(row)}; {nearest(row, rows)}")


def _plain(value: Any) -> Any:
    from ml_collections import ConfigDict  # which a config.json is read without

    if isinstance(value, ConfigDict | dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _override(mapping: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not (equals and name.isprintable()):
        written = f"--config.{shown_name(override)}"
        raise UserError(f"{written}: an override is written --config.NAME=VALUE")
    *parents, last = name.replace("[", ".").replace("]", "").split(".")
    where, node = "config", mapping
    for part in parents:
        node, where = node[_key(node, part, where)], f"{where}.{part}"
    key = _key(node, last, where)
    node[key] = _literal(text, node[key])


def _key(node: Any, part: str, where: str) -> Any:
    if isinstance(node, list):
        names = [item.get("name") if isinstance(item, dict) else None for item in node]
        if part in names:
            return names.index(part)
        numbers = [str(i) for i in range(len(node))]
        if part in numbers:
            return int(part)
        choices = numbers + [name for name in names if name]
        raise UserError(f"{where}.{part}: no such entry; {nearest(part, choices)}")
    if not isinstance(node, dict):
        raise UserError(f"{where}.{part}: {where} is a single value, {shown(node)}")
    if part not in node:
        raise UserError(f"{where}.{part}: no such name; {nearest(part, node)}")
    return part


def _literal(text: str, old: Any) -> Any:
    if isinstance(old, str):
        return text
    words = {"true": True, "false": False, "inf": float("inf")}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return _plain(ast.literal_eval(text))
    # A key that is a list; lists in lists; numbers of thousands of digits: no value of a config.
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
