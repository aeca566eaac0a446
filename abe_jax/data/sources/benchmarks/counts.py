"""What of a data set is in a source: its listing, checked against the published counts."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from abe_jax.data.sources.benchmarks.archives import Member, members
from abe_jax.data.sources.benchmarks.benchmark import Image, Listing, Original
from abe_jax.errors import UserError


class Survey(NamedTuple):
    """The images that are there, where each lies, and what is wrong with their number."""

    listing: Listing
    paths: dict[str, str]  # key -> path below the source, in the order of `archives.members`
    wrong: str  # which counts are not those published; empty: none


def survey(original: Original, source: Path) -> Survey:
    """Looks through a source once; of several copies of an image the first counts.

    Raises:
        UserError: errors of `archives.members`; nothing of the set is there, or a list is missing
            or not understood.
    """
    texts: dict[str, bytes] = {}
    paths: dict[str, str] = {}
    for member in _watched(original, source):
        name = member.path.rpartition("/")[2]
        if name in original.lists:
            texts.setdefault(name, member.read())
        elif key := original.key(member.path):
            paths.setdefault(key, member.path)
    try:
        listed = original.listing(texts, list(paths))
    except UserError as error:
        raise UserError(
            f"{original.name}: {error} in {source}, which should hold {original.archives}"
        ) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{original.name}: its lists in {source} do not belong together ({error!r})"
        ) from error
    there = [image for image in listed.images if image.key in paths]
    wrong = _wrong(original, listed.images, there)
    if not there:
        raise UserError(
            f"{original.name}: none of its images is in {source}, which should hold "
            f"{original.archives}, unpacked or not"
        )
    return Survey(Listing(there, listed.classes), paths, wrong)


def _watched(original: Original, source: Path) -> Iterator[Member]:
    found = members(source)
    yield from tqdm(found, desc=f"{original.name}: looking", unit="file", mininterval=1)


def _wrong(original: Original, listed: list[Image], there: list[Image]) -> str:
    """Says of each part whose counts are not those published what was expected and found."""
    wrong = []
    for name, part in original.parts.items():
        images = [image for image in there if image.part == name]
        classes = len({image.label for image in images})
        if part.optional and not images:
            continue
        for what, expected, found in (
            ("images", part.images, len(images)),
            ("classes", part.classes, classes),
        ):
            if expected and found != expected:
                wrong.append(f"{name}: expected {expected} {what}, found {found}")
    places = {image.key for image in there}
    missing = [image.key for image in listed if image.key not in places]
    if missing:
        wrong.append(f"{len(missing)} listed images are not there, the first: {missing[0]}")
    keys = len({image.key for image in listed})
    if keys != len(listed):
        wrong.append(f"{len(listed) - keys} images are listed twice")
    return "; ".join(wrong)


def digest(listing: Listing) -> str:
    """SHA-256 of a listing: every image with its class, part and domain, in order."""
    found = hashlib.sha256()
    for image in listing.images:
        row = (image.key, listing.classes[image.label], image.part, image.domain)
        found.update(os.fsencode("\t".join(row) + "\n"))
    return found.hexdigest()
