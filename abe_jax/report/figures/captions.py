"""figures.md: the pictures with their captions, and the command that draws them again."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from abe_jax import files

NAME = "figures.md"


class Caption(NamedTuple):
    """A picture's file name without its ending, and its caption in Markdown."""

    name: str
    words: str


def escaped(name: str) -> str:
    """A name from outside as text without any Markdown; `tables.markdown` escapes `|`."""
    return re.sub(r"([\\`*_\[\]<>#&])", r"\\\1", " ".join(name.split()))


def write(folder: Path, command: str, captions: Sequence[Caption], skipped: Sequence[str]) -> None:
    """Writes figures.md, whole or not at all, of one command's pictures alone.

    Args:
        folder: where the pictures are.
        command: that draws them.
        captions: of what was drawn.
        skipped: what was not, and why.
    """
    parts = ["# Figures", f"    {command}"]
    for name, words in captions:
        parts += [f"## {name}", f"![{name}]({name}.png)", words]
    if skipped:
        parts += ["## Left out", "\n".join(f"- {line}" for line in skipped)]
    files.write(folder / NAME, "\n\n".join(parts) + "\n")
