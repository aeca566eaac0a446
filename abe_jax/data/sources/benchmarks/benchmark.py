"""What is known of a benchmark as its authors hand it out: its lists, its images, its counts."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from abe_jax.data.annotations import Annotations
from abe_jax.errors import UserError


class BenchmarkImage(NamedTuple):
    """One image of a listing."""

    key: str  # what `Benchmark.key` makes of where it lies
    label: int  # into `BenchmarkListing.classes`
    part: str  # one of `Benchmark.parts`
    domain: str = ""
    camera: int = 0  # which took it; 0: the set does not say
    roles: tuple[int, ...] = ()  # what it is in each division, of a set with `divisions`


class BenchmarkListing(NamedTuple):
    """All images of a data set and its classes, both in its own order."""

    images: list[BenchmarkImage]
    classes: list[str]
    annotations: Annotations | None = None  # a row for each image
    attribute_names: Sequence[str] = ()


class Part(NamedTuple):
    """A part of a data set, of so many images and classes as published; 0: not published."""

    images: int
    classes: int
    split: str  # train | test
    gallery: bool | None = None  # whether its images are a gallery's, where queries are others
    optional: bool = False  # may be left out, but only as a whole


Texts = Mapping[str, bytes]  # the content of the lists that were found, by their names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A data set in the form in which its authors hand it out.

    key      names an image wherever it was unpacked to (`path` is below the source); empty where
             the file is none of the set's
    listing  the images by the set's own lists, or by the keys that were found
    """

    name: str
    version: str  # of the prepared form
    archives: str  # what to fetch, in words
    parts: Mapping[str, Part]
    lists: frozenset[str]  # names of the files that `listing` reads
    key: Callable[[str], str]
    listing: Callable[[Texts, Sequence[str]], BenchmarkListing]
    domain: Callable[[str], str] | None = None  # a key's, where no domain is stored with an image
    class_is_object: bool = False  # a class is one object or scene
    own_held_out: bool = False  # the test images are of the training classes
    persons: str = ""  # whose it shows, where another set shows the same: both have this name
    nobody: str = ""  # a class of distractors, not to be trained on
    divisions: int = 1  # random ones of its persons, see divisions.py; `Part.split` says nothing
    takes_rotations: bool = False  # photographs lie on their side: a list may turn them upright
    domain_is_category: bool = False  # the domains are kinds of things, such as Dresses
    point_pairs: tuple[tuple[int, int], ...] = ()  # of annotated points: left and right of the same
    shard: int = 4096  # records in a file: ImageNet has 326, fewer than a process may have open


def text(texts: Texts, name: str) -> list[str]:
    """The lines of a list that has to be there.

    Raises:
        UserError: it is not.
    """
    return required(texts, name).decode(errors="surrogateescape").splitlines()


def required(texts: Texts, name: str) -> bytes:
    """The content of a list that has to be there.

    Raises:
        UserError: it is not.
    """
    if name not in texts:
        raise UserError(f"{name} is missing")
    return texts[name]


def rows(texts: Texts, name: str, pattern: str, header: int = 0) -> list[re.Match[str]]:
    """The lines of a list behind its header, empty ones left out, each matched as a whole.

    Raises:
        UserError: a line that does not match.
    """
    matches = []
    for number, line in enumerate(text(texts, name), start=1):
        if number <= header or not line.strip():
            continue
        match = re.fullmatch(pattern, line.strip())
        if not match:
            raise UserError(f"line {number} of {name} is not understood: {line.strip()[:60]!r}")
        matches.append(match)
    return matches


def tail(path: str, parts: int) -> str:
    """The last so many parts of a path; empty where it has fewer."""
    names = path.split("/")
    return "/".join(names[-parts:]) if len(names) >= parts else ""
