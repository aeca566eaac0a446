"""What each command of `abe_jax.index` does with its arguments."""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from abe_jax import hosts
from abe_jax.cli import command
from abe_jax.config import stored
from abe_jax.config.weights import embedder_of_weights
from abe_jax.data import uncropped
from abe_jax.data.images.decoding import UnreadableImage
from abe_jax.data.sources import image_files
from abe_jax.errors import ArgumentError
from abe_jax.evaluation.network import Network
from abe_jax.evaluation.resolution import resized
from abe_jax.index import description, ingest, snapshot
from abe_jax.index import sync as following
from abe_jax.index.export import export_faiss
from abe_jax.index.image_list import list_images
from abe_jax.index.removal import remove_images
from abe_jax.index.segments import ImageRow

SAMPLED = 20  # pictures whose size is looked at


def build(arguments: argparse.Namespace) -> None:
    """Embeds images and makes an index of them."""
    with hosts.together():
        ingest.require_free(arguments.out)
        images = list_images(arguments.images, arguments.label_column)
        embedder = (
            stored.embedder_of_run(arguments.workdir)
            if arguments.workdir
            else embedder_of_weights(arguments.weights)
        )
        if (arguments.size, arguments.longest) != (None, None):
            embedder = stored.at_size(embedder, arguments.size, arguments.longest)
        elif line := smaller_size(embedder.network, images.rows):
            command.say(line)
        if arguments.batch:
            embedder = stored.in_batches_of(embedder, arguments.batch)
    result = ingest.build(arguments.out, embedder, arguments.storage, images)
    if hosts.is_first():  # the folder is there when the first host has written it
        _say_result(arguments.out, result)


def smaller_size(network: Network, rows: Sequence[ImageRow]) -> str:
    """A line that suggests the pictures' own size where the network sees more than twice that.

    Some pictures stand for all: their middle shorter side counts. '' where nothing is suggested.
    """
    sampled = rows[:: max(1, len(rows) // SAMPLED)]
    sizes = [_size(row.path) for row in sampled]
    shorter = [min(size) for size in sizes if size != uncropped.UNREADABLE]
    shape = (network.longest,) if network.longest else network.preprocessing.shape
    seen = min(shape)
    own = round(statistics.median(shorter)) if shorter else seen
    if seen <= 2 * own:
        return ""
    size = round(own * max(shape) / seen)  # of a rectangle the longer side is named
    try:
        resized(network, size)
    except ArgumentError:  # too small for this network, or of one size alone
        return ""
    return (
        f"the network sees {seen} px, the pictures have {own} px: with --size {size} they are "
        f"embedded about {(seen / own) ** 2:.0f} times as fast, to other vectors; compare which "
        "finds more"
    )


def _size(path: str) -> tuple[int, int]:
    try:
        return uncropped.size(image_files.read(Path(path)))
    except UnreadableImage:
        return uncropped.UNREADABLE


def add(arguments: argparse.Namespace) -> None:
    """Embeds more images into an index."""
    index = stored.index(arguments.index)
    _say_result(index.folder, index.add(arguments.images, label_column=arguments.label_column))


def _say_result(folder: Path, result: ingest.IngestResult) -> None:
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (result.added, "added"),
            (result.replaced, "replaced"),
            (result.unchanged, "unchanged"),
        )
        if number or what == "added"
    ]
    command.say(f"{folder}: {', '.join(parts)}; {snapshot.read(folder).count:,} images")
    _warn(folder, result.notes, result.unreadable, result.damaged)


def _warn(
    folder: Path, notes: Sequence[str], unreadable: Mapping[str, str], damaged: Sequence[str]
) -> None:
    for note in notes:
        command.say(f"warning: {note}")
    if unreadable:
        noted = folder / ingest.UNREADABLE
        command.say(f"warning: {len(unreadable):,} files cannot be read, named in {noted}")
    if damaged:
        noted = folder / ingest.DAMAGED
        command.say(
            f"warning: {len(damaged):,} files are damaged inside, but used, named in {noted}"
        )


def sync(arguments: argparse.Namespace) -> None:
    """Follows the folder, or says what that would be, for which no network is needed."""
    files = following.listed(arguments.images, arguments.label_column)
    if arguments.dry_run:
        result = following.dry_run(arguments.index, files, arguments.verify_content)
        command.say(f"{arguments.index}: would be {summary(result)}")
    else:
        index = stored.index(arguments.index)
        result = following.sync(index.folder, index.embedder, files, arguments.verify_content)
        command.say(f"{index.folder}: {summary(result)}")
    unreadable = {} if arguments.dry_run else result.unreadable
    _warn(arguments.index, files.images.notes, unreadable, result.damaged)


def summary(result: following.SyncResult) -> str:
    """What a sync did, in a line."""
    parts = [
        (result.added, "added"),
        (result.removed, "removed"),
        (result.moved, "moved"),
        (result.changed, "changed"),
        (result.unchanged, "as they were"),
    ]
    parts += [(result.relabelled, "relabelled")] if result.relabelled else []
    parts += [(result.outside, "outside of the folder")] if result.outside else []
    told = ", ".join(f"{number:,} {what}" for number, what in parts)
    return f"{told}; {result.images:,} images"


def remove(arguments: argparse.Namespace) -> None:
    """Removes images from an index."""
    count = remove_images(arguments.index, arguments.paths, arguments.ids)
    left = snapshot.read(arguments.index).count
    command.say(f"{arguments.index}: {count:,} removed; {left:,} images")


def info(arguments: argparse.Namespace) -> None:
    """Says what an index holds."""
    now = snapshot.read(arguments.index)
    if arguments.verify:
        snapshot.verify(now)
        now = stored.index(arguments.index).snapshot
    described = description.describe(now) | ({"verified": True} if arguments.verify else {})
    if arguments.json:
        command.say(json.dumps(described, indent=1))
        return
    command.say(description.text(described))
    if arguments.verify:
        command.say("every file is what was written")


def export(arguments: argparse.Namespace) -> None:
    """Writes an index for faiss."""
    now = snapshot.read(arguments.index)
    export_faiss(now, arguments.faiss)
    command.say(f"{arguments.faiss}: {now.count:,} vectors")


def calibrate(arguments: argparse.Namespace) -> None:
    """Finds the distance up to which a neighbour is a match."""
    index = stored.index(arguments.index)
    index.calibrate(
        arguments.images,
        precision=arguments.precision,
        false_match_rate=arguments.false_match_rate,
        label_column=arguments.label_column,
        say=command.say,
    )
    command.say(description.text(description.describe(index.snapshot)))


RUN: dict[str, Callable[[argparse.Namespace], None]] = {
    "build": build,
    "add": add,
    "sync": sync,
    "remove": remove,
    "info": info,
    "calibrate": calibrate,
    "export": export,
}
