"""figures.md: the pictures with their captions, and the command that draws them again."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

NAME = "figures.md"


class Caption(NamedTuple):
    """A picture's file name without its ending, and its caption in Markdown."""

    name: str
    words: str


def plain(name: str) -> str:
    """A name from outside as text that Markdown takes for nothing else; `|` is for its tables."""
    return re.sub(r"([\\`*_\[\]<>#&])", r"\\\1", " ".join(name.split()))


def write(folder: Path, command: str, found: Sequence[Caption], skipped: Sequence[str]) -> None:
    """Writes figures.md, whole or not at all; it says nothing of any other command's pictures.

    Args:
        folder: where the pictures are.
        command: that draws them.
        found: what was drawn.
        skipped: what was not, and why.
    """
    parts = ["# Figures", f"    {command}"]
    for name, words in found:
        parts += [f"## {name}", f"![{name}]({name}.png)", words]
    if skipped:
        parts += ["## Left out", "\n".join(f"- {line}" for line in skipped)]
    partial = folder / f"{NAME}.partial"
    partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    partial.replace(folder / NAME)
