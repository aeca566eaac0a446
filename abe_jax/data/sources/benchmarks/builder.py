"""Writes a data set once as array_record: every image's bytes as they are, and its listing.

A folder holds shards of up to `Benchmark.shard` records in the order in which the source is read,
labels.npz and, written last, info.json: until then the set counts as not prepared. A build that
was killed goes on at the first shard that is missing.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import UInt8
from tqdm import tqdm

from abe_jax import files, hosts
from abe_jax.data.sources.benchmarks import annotated
from abe_jax.data.sources.benchmarks.archives import members
from abe_jax.data.sources.benchmarks.benchmark import Benchmark, BenchmarkListing
from abe_jax.data.sources.benchmarks.inventory import Inventory, digest, take_inventory
from abe_jax.data.sources.prepared import damage_named, locked
from abe_jax.errors import UserError

INFO, LABELS, PLAN, UNREADABLE = "info.json", "labels.npz", "plan.json", "unreadable.txt"
_OPTIONS = "group_size:1,uncompressed"  # random access; images are compressed already


def build(benchmark: Benchmark, source: Path, folder: Path, *, any_counts: bool = False) -> str:
    """Writes what is not yet written of a data set into `folder`.

    `any_counts`: other counts than those published are no error; a warning is returned.

    Returns:
        A warning, or nothing.

    Raises:
        UserError: the errors of `take_inventory`, wrong counts, or a folder that cannot be written.
    """
    if (folder / INFO).exists() and not (folder / PLAN).exists():
        return ""  # nothing is left to write: the folder may be read-only
    with locked(folder):
        if (folder / INFO).exists():
            _tidy(folder)
            return ""
        inventory = take_inventory(benchmark, source)
        if inventory.wrong and not any_counts:
            raise UserError(
                f"{benchmark.name} in {source} is not as published: {inventory.wrong} "
                "(--allow-counts prepares it all the same)"
            )
        order = _order(inventory)
        _begin(folder, benchmark, order)
        _write(benchmark, source, folder, order)
        _finish(benchmark, folder, inventory, order)
    return inventory.wrong


def info(folder: Path) -> dict[str, Any]:
    """What info.json says of a prepared set; a damaged file raises `UserError`."""
    with damage_named(folder):
        return json.loads((folder / INFO).read_text())


def shard_names(benchmark: Benchmark, records: int) -> list[str]:
    """The file names of all shards."""
    count = -(-records // benchmark.shard)
    return [f"{benchmark.name}-{shard:05}-of-{count:05}.array_record" for shard in range(count)]


def _order(inventory: Inventory) -> list[str]:
    """The paths of all listed images, in the order in which the source is read."""
    listed = {image.key for image in inventory.listing.images}
    return [path for key, path in inventory.paths.items() if key in listed]


def _begin(folder: Path, benchmark: Benchmark, order: Sequence[str]) -> None:
    """Keeps the shards of a build of the same images in the same order; removes any other."""
    content = "\n".join((benchmark.version, str(benchmark.shard), *order))
    plan = hashlib.sha256(os.fsencode(content)).hexdigest()
    for partial in folder.glob("*.partial"):
        partial.unlink()
    if (folder / PLAN).exists() and json.loads((folder / PLAN).read_text())["order"] == plan:
        return
    for leftover in folder.glob("*.array_record"):
        leftover.unlink()
    (folder / UNREADABLE).unlink(missing_ok=True)
    files.write(folder / PLAN, json.dumps({"order": plan}).encode())


def _write(benchmark: Benchmark, source: Path, folder: Path, order: Sequence[str]) -> None:
    """Writes the shards that are missing."""
    names = shard_names(benchmark, len(order))
    done = next((i for i, name in enumerate(names) if not (folder / name).exists()), len(names))
    contents = _contents(source, order[done * benchmark.shard :])
    with tqdm(
        total=len(order),
        initial=min(done * benchmark.shard, len(order)),
        desc=f"{benchmark.name}: writing",
        unit="image",
        mininterval=1,
    ) as bar:
        for shard in range(done, len(names)):
            partial = folder / f"{names[shard]}.partial"
            size = min(benchmark.shard, len(order) - shard * benchmark.shard)
            unreadable = _write_shard(partial, size, contents, bar)
            with (folder / UNREADABLE).open("ab") as file:
                file.writelines(os.fsencode(f"{name}\n") for name in unreadable)
            partial.replace(folder / names[shard])


def _write_shard(
    path: Path, size: int, contents: Iterator[tuple[str, bytes]], bar: Any
) -> list[str]:
    """Writes the next contents; an unreadable one, which is empty, is returned by its path."""
    unreadable = []
    try:
        writer = ArrayRecordWriter(str(path), _OPTIONS)
        for _ in range(size):
            name, content = next(contents)
            if not content:
                unreadable.append(name)
            writer.write(content)
            bar.update()
        writer.close()
        files.sync(path)
    except RuntimeError as error:  # array_record's
        reason = str(error).splitlines()[0].split("; ")[0][:120]
        raise UserError(f"cannot write {path} ({reason})") from error
    return unreadable


def _contents(source: Path, order: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Each path, which come in the order of the source, and its content."""
    remaining = set(order)
    expected = iter(order)

    def enter(archive: str) -> bool:
        return any(path.startswith(f"{archive}/") for path in remaining)

    for member in members(source, enter):
        hosts.at_work()
        if member.path in remaining:
            remaining.remove(member.path)
            if member.path != next(expected):
                break
            yield member.path, member.read()
    raise UserError(f"the files in {source} changed meanwhile: run the same command again")


def _finish(benchmark: Benchmark, folder: Path, inventory: Inventory, order: Sequence[str]) -> None:
    listing = inventory.listing
    rows = {path: row for row, path in enumerate(order)}
    domains = sorted({image.domain for image in listing.images} - {""})
    parts = list(benchmark.parts)
    stored = io.BytesIO()
    np.savez_compressed(
        stored,
        allow_pickle=False,
        labels=np.array([image.label for image in listing.images], np.int32),
        parts=np.array([parts.index(image.part) for image in listing.images], np.int32),
        domains=np.array(
            [domains.index(image.domain) if domains else 0 for image in listing.images], np.int32
        ),
        rows=np.array([rows[inventory.paths[image.key]] for image in listing.images], np.int64),
        **_of_persons(listing),
        # Names as bytes: as an array of text each would take four times the longest.
        keys=_joined(image.key for image in listing.images),
        class_names=_joined(listing.classes),
        domain_names=_joined(domains),
        **annotated.stored(listing.annotations, listing.attribute_names),
    )
    files.write(folder / LABELS, stored.getvalue())
    # A name stands twice where a build was killed between writing a shard and renaming it.
    unreadable = dict.fromkeys((folder / UNREADABLE).read_bytes().splitlines(keepends=True))
    files.write(folder / UNREADABLE, b"".join(unreadable))
    about = _info(benchmark, inventory, len(unreadable))
    files.write(folder / INFO, json.dumps(about, indent=2).encode())
    _tidy(folder)


def _of_persons(listing: BenchmarkListing) -> dict[str, np.ndarray]:
    """The camera of each image, and what it is in each division, where the set says so."""
    images = listing.images
    found = {}
    if any(image.camera for image in images):
        found["cameras"] = np.array([image.camera for image in images], np.int32)
    if any(image.roles for image in images):
        found["roles"] = np.array([image.roles for image in images], np.uint8)
    return found


def _tidy(folder: Path) -> None:
    """Removes what only a build needs, which one that was killed may have left."""
    if not info(folder)["unreadable"]:
        (folder / UNREADABLE).unlink(missing_ok=True)
    (folder / PLAN).unlink(missing_ok=True)  # last: where it is, more may be left


def _joined(names: Iterable[str]) -> UInt8[np.ndarray, " b"]:
    return np.frombuffer(os.fsencode("\n".join(names)), np.uint8)


def _info(benchmark: Benchmark, inventory: Inventory, unreadable: int) -> dict[str, Any]:
    images = inventory.listing.images
    return {
        "name": benchmark.name,
        "version": benchmark.version,
        "images": len(images),
        "parts": {
            part: {
                "images": sum(image.part == part for image in images),
                "classes": len({image.label for image in images if image.part == part}),
            }
            for part in benchmark.parts
        },
        "as_published": not inventory.wrong,
        "unreadable": unreadable,
        "listing_sha256": digest(inventory.listing),
    }
