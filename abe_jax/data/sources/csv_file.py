"""The rows of a CSV file that names images, checked, and names as text."""

import csv
import os
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from abe_jax.errors import ArgumentError, UserError, nearest

_BREAKING = frozenset(("Cc", "Cs", "Zl", "Zp"))  # categories that end a line or cannot be encoded


class CsvRow(NamedTuple):
    """One row of a CSV file: a path below the file's folder, a label or '', the other columns."""

    path: str
    label: str
    others: dict[str, str]


def table(path: pathlib.Path, label_column: str | None = None) -> list[CsvRow]:
    """The rows of a CSV file with the column `path`; `label` and other columns are optional.

    Raises:
        UserError: it is no CSV file, has no rows, no column `label_column` though one was named, or
            a path is empty, named twice or not below the file's own folder. A file that is not
            there is for its reader to find out.
    """
    try:
        listed = rows(path, {"label_column": label_column} if label_column else None)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    check_paths(path, [row["path"] for row in listed])
    label_column = label_column or "label"
    named = ("path", label_column)
    return [
        CsvRow(
            row["path"],
            row.get(label_column, ""),
            {name: value for name, value in row.items() if name not in named},
        )
        for row in listed
    ]


def shown(name: str) -> str:
    """A name as one line of text: bytes that are no text and what ends a line, as escapes."""
    return "".join(_escaped(c) if unicodedata.category(c) in _BREAKING else c for c in name)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is no text
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def rows(path: pathlib.Path, asked: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The rows of a CSV file by column: cells stripped, `path` relative to the file's own folder.

    `asked` names columns that must be there beside `path`, each by the option that asks for it.

    Raises:
        UserError: it cannot be read as CSV in UTF-8, a column is missing or there twice, or a row
            has more cells than there are columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # Strict: a quotation mark that nothing closes would take in all the rows behind it.
            lines = list(filter(any, csv.reader(file, skipinitialspace=True, strict=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file in UTF-8 ({error})") from error
    if not lines:
        raise UserError(f"{path} is empty")
    columns = [name.strip() for name in lines[0]]
    _check_columns(path, columns, {"path": "path", **(asked or {})})
    longer = (",".join(line) for line in lines[1:] if any(line[len(columns) :]))
    refuse(path, f"more than {len(columns)} cells (one with a comma needs quotes)", longer)
    base, at = path.absolute().parent, columns.index("path")
    filled = [line + [""] * (len(columns) - len(line)) for line in lines[1:]]
    return [
        {
            **{name: cell.strip() for name, cell in zip(columns, line, strict=False) if name},
            "path": os.path.relpath(base / line[at], base),
        }
        for line in filled
    ]


def _check_columns(path: pathlib.Path, columns: list[str], asked: Mapping[str, str]) -> None:
    for option, column in asked.items():
        if column not in columns:
            parted = len(columns) == 1 and any(sign in columns[0] for sign in ";\t|")
            reason = "its cells are to be parted by commas" if parted else nearest(column, columns)
            text = f"{path} has no column '{column}'; {reason}"
            raise UserError(text) if option == "path" else ArgumentError(option, text)
    for name in columns:
        if name and columns.count(name) > 1:
            raise UserError(f"{path} has two columns '{shown(name)}'")


def check_paths(path: pathlib.Path, paths: list[str]) -> None:
    """Raises `UserError` for no rows, a path outside of the file's folder or one named twice."""
    if not paths:
        raise UserError(f"{path} has no rows")
    outside = (p for p in paths if p in (".", "..") or p.startswith("../"))
    refuse(path, f"an image outside of {path.absolute().parent}", outside)
    seen: set[str] = set()
    refuse(path, "an image named before", (p for p in paths if p in seen or seen.add(p)))


def refuse(
    path: pathlib.Path,
    what: str,
    wrong: Iterable[str],
    remedy: Callable[[str], str] = lambda row: "",
) -> None:
    """Raises `UserError` where some rows are wrong: how many, and the first with its remedy."""
    listed = list(wrong)
    if listed:
        count = "a row" if len(listed) == 1 else f"{len(listed)} rows"
        first = f"{shown(listed[0])}{remedy(listed[0])}"
        raise UserError(f"{path}: {count} with {what}, the first: {first}")
