"""What each command of `abe_jax.index` does with its arguments."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.config import stored
from abe_jax.index import description, ingest, snapshot
from abe_jax.index import sync as following
from abe_jax.index.export import export_faiss
from abe_jax.index.image_list import list_images
from abe_jax.index.removal import remove_images


def build(arguments: argparse.Namespace) -> None:
    """Embeds images and makes an index of them."""
    ingest.require_free(arguments.out)
    images = list_images(arguments.images, arguments.label_column)
    embedder = (
        stored.embedder_of_run(arguments.workdir)
        if arguments.workdir
        else stored.embedder_of_weights(arguments.weights)
    )
    if arguments.batch:
        embedder = stored.in_batches_of(embedder, arguments.batch)
    _say_result(arguments.out, ingest.build(arguments.out, embedder, arguments.storage, images))


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
