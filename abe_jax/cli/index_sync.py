"""python -m abe_jax.index sync: an index made to follow its folder, in one line what was done."""

import argparse
from pathlib import Path

from abe_jax.cli import command
from abe_jax.config import stored
from abe_jax.index import ingest, sync
from abe_jax.index.sync import SyncResult

SAYS = (
    "Makes the index follow a folder: what was added, removed, moved or changed there. Files are "
    "known again by content, so that only new and changed ones are embedded. Images outside of "
    "the folder (of a CSV file: of its own) stay. All of it is done, or nothing."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command alone."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, change nothing"
    )
    parser.add_argument(
        "--verify-content",
        action="store_true",
        help="read every file, also those of the same path, size and time of change",
    )


def run(arguments: argparse.Namespace) -> None:
    """Follows the folder, or says what that would be, for which no network is needed."""
    files = sync.listed(arguments.images, arguments.label_column)
    if arguments.dry_run:
        result = sync.dry_run(arguments.index, files, arguments.verify_content)
        command.say(f"{arguments.index}: would be {summary(result)}")
        return
    index = stored.index(arguments.index)
    result = sync.sync(index.folder, index.embedder, files, arguments.verify_content)
    command.say(f"{index.folder}: {summary(result)}")
    if result.unreadable:
        noted = Path(index.folder, ingest.UNREADABLE)
        command.say(f"warning: {len(result.unreadable):,} files cannot be read, named in {noted}")


def summary(result: SyncResult) -> str:
    """What was done, in a line."""
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
