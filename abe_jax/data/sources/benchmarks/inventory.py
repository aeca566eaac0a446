"""What a source holds of a benchmark: its listing, checked against the published counts."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from abe_jax import hosts
from abe_jax.data.sources.benchmarks import matlab_images
from abe_jax.data.sources.benchmarks.archives import members
from abe_jax.data.sources.benchmarks.benchmark import Benchmark, BenchmarkImage, BenchmarkListing
from abe_jax.errors import UserError


class Inventory(NamedTuple):
    """The images that are there, where each lies, and what is wrong with their number."""

    listing: BenchmarkListing
    paths: dict[str, str]  # key -> path below the source, in the order of `archives.members`
    wrong: str  # which counts are not those published; empty: none


def take_inventory(benchmark: Benchmark, source: Path) -> Inventory:
    """Looks through a source once; of several copies of an image the first counts.

    Raises:
        UserError: errors of `archives.members`; nothing of the set is there, or a list is missing
            or not understood.
    """
    texts: dict[str, bytes] = {}
    paths: dict[str, str] = {}
    progress = f"{benchmark.name}: looking"

    def enter(archive: str) -> bool:
        return not matlab_images.is_one(archive) or matlab_images.is_of(benchmark.key, archive)

    for member in tqdm(members(source, enter), desc=progress, unit="file", mininterval=1):
        hosts.at_work()
        name = member.path.rpartition("/")[2]
        if name in benchmark.lists:
            texts.setdefault(name, member.read())
        elif key := benchmark.key(member.path):
            paths.setdefault(key, member.path)
    try:
        listed = benchmark.listing(texts, list(paths))
    except UserError as error:
        raise UserError(
            f"{benchmark.name}: {error} in {source}, which should hold {benchmark.archives}"
        ) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{benchmark.name}: its lists in {source} do not belong together ({error!r})"
        ) from error
    rows = [row for row, image in enumerate(listed.images) if image.key in paths]
    there = [listed.images[row] for row in rows]
    known = listed.annotations and listed.annotations.rows(np.array(rows, np.int64))
    wrong = _wrong(benchmark, listed.images, there)
    if not there:
        raise UserError(
            f"{benchmark.name}: none of its images is in {source}, which should hold "
            f"{benchmark.archives}, unpacked or not"
        )
    listing = BenchmarkListing(there, listed.classes, known, listed.attribute_names)
    return Inventory(listing, paths, wrong)


def _wrong(benchmark: Benchmark, listed: list[BenchmarkImage], there: list[BenchmarkImage]) -> str:
    """Says of each part whose counts are not those published what was expected and found."""
    wrong = []
    for name, part in benchmark.parts.items():
        images = [image for image in there if image.part == name]
        classes = len({image.label for image in images})
        if part.optional and not images:
            continue
        for what, expected, count in (
            ("images", part.images, len(images)),
            ("classes", part.classes, classes),
        ):
            if expected and count != expected:
                wrong.append(f"{name}: expected {expected} {what}, found {count}")
    present = {image.key for image in there}
    missing = [image.key for image in listed if image.key not in present]
    if missing:
        wrong.append(f"{len(missing)} listed images are not there, the first: {missing[0]}")
    keys = len({image.key for image in listed})
    if keys != len(listed):
        wrong.append(f"{len(listed) - keys} images are listed twice")
    return "; ".join(wrong)


def digest(listing: BenchmarkListing) -> str:
    """SHA-256 of a listing: every image with all that is said of it, in order."""
    hashed = hashlib.sha256()
    for image in listing.images:
        row = (image.key, listing.classes[image.label], image.part, image.domain)
        if image.camera or image.roles:
            row += (str(image.camera), ".".join(map(str, image.roles)))
        hashed.update(os.fsencode("\t".join(row) + "\n"))
    return hashed.hexdigest()
