"""A list of photographs that lie on their side, and of how they are turned upright.

A text file, one image a line: its name and the degrees that it is turned clockwise from its stored
rows (whatever orientation the file states), 0, 90, 180 or 270:

    100600.jpg 90
    100700.jpg 270

Blank lines, lines that begin with # and the braces, quotes, colons and commas of a YAML or JSON
mapping are allowed, so a published list is read as it is. Images that are not named stay as they
are. The list that the public code of MultiGrain (Berman et al., arXiv 1902.05509) evaluates on
Holidays names 228 images; it is not part of this project.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from jaxtyping import Int
from numpy import ndarray

from abe_jax import files
from abe_jax.data.images.turned_files import ORIENTATIONS, turned
from abe_jax.data.split import Records
from abe_jax.errors import ArgumentError

NAME = "rotations.txt"  # of the list that a set was prepared with, in its folder
NONE = "none"  # in the place of a list: the images as they are stored
_LINE = re.compile(r"""["']?([^"':\s]+)["']?\s*:?\s*([-+]?[\d.]+)\s*,?""")
_ASIDE = ("", "{", "}")


class Turned:
    """Records of which some are turned by so many degrees clockwise, when they are read."""

    def __init__(self, records: Records, degrees: Int[ndarray, " n"]):
        self._records, self._degrees = records, degrees  # -1: as it is

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        degrees = int(self._degrees[index])
        encoded = self._records[index]
        return encoded if degrees < 0 else turned(encoded, degrees)


def read_list(path: str | Path, names: Iterable[str]) -> dict[str, int]:
    """The degrees of each image that a list names.

    Args:
        path: of the list.
        names: of all images that there are.

    Raises:
        ArgumentError: of `rotations`: there is no such file, or a line that cannot be meant.
    """
    where, known = files.expanded(path), set(names)
    try:
        lines = where.read_text().splitlines()
    except OSError as error:
        raise _wrong(f"cannot read {where} ({error.strerror})") from None
    except ValueError:
        raise _wrong(f"{where} is no text file") from None
    found = dict[str, int]()
    for number, line in enumerate(lines, start=1):
        if line.strip() in _ASIDE or line.lstrip().startswith("#"):
            continue
        name, degrees = _understood(line, f"{where}, line {number}", known)
        if found.setdefault(name, degrees) != degrees:
            raise _wrong(f"{where}, line {number}: {name} stands there twice, turned differently")
    if not found:
        raise _wrong(f"{where} names no image")
    return found


def _understood(line: str, at: str, known: set[str]) -> tuple[str, int]:
    match = _LINE.fullmatch(line.strip())
    if not match:
        shown = line.strip()[:60]
        raise _wrong(f"{at}: {shown!r}; expected an image's name and degrees, as 100600.jpg 90")
    name, degrees = match[1], match[2]
    try:
        clockwise = float(degrees) % 360
    except ValueError:
        clockwise = -1.0
    if clockwise not in ORIENTATIONS:
        raise _wrong(f"{at}: {degrees} degrees; expected 0, 90, 180 or 270, clockwise")
    if name not in known:
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
        raise _wrong(f"{at}: no image is called {name!r}; did you mean {close[0]!r}?")
    return name, int(clockwise)


def written(degrees: Mapping[str, int]) -> str:
    """A list as `read_list` reads it."""
    return "".join(f"{name} {degrees[name]}\n" for name in sorted(degrees))


def _wrong(text: str) -> ArgumentError:
    return ArgumentError("rotations", text)
