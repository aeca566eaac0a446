"""The sizes and the type of pictures for papers, and how they are written."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from abe_jax import files
from abe_jax.report import palette, plots

COLUMN, PAGE = 3.3, 6.9  # inches: one column of a paper of two, and both
DPI = 300
SMALL, TYPE = 6.0, 7.0  # points of type
LINE = 0.13  # inches of a line of a legend

RC: dict[Any, Any] = {
    **plots.FONT,
    "pdf.fonttype": 42,  # TrueType, embedded: publishers refuse Type 3
    "font.size": TYPE,
    "axes.titlesize": TYPE,
    "axes.labelsize": TYPE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "savefig.bbox": None,
    "image.composite_image": False,  # each picture stays one in the PDF
}
PAPER = plots.Look(
    rc=RC,
    background="white",
    spines=("left", "bottom"),
    ticks={"colors": palette.light("ink"), "length": 2, "width": 0.5, "pad": 2},
    grid=0.4,
    margins=None,
    pads={"w_pad": 0.02, "h_pad": 0.02},
    outline=1.0,
    mean=0.7,
    fill=0.18,
)


def label(name: str) -> str:
    """A run's name as a legend can show it."""
    return drawable(name, 44)


def drawable(words: str, most: int) -> str:
    """The words in characters that the font has, others by number, cut to `most` characters."""
    said = "".join(c if ord(c) in _characters() else f"U+{ord(c):04X}" for c in words)
    return said if len(said) <= most else said[: most - 1] + "…"


@cache
def _characters() -> frozenset[int]:
    font = findfont(FontProperties(family=plots.FONT["font.sans-serif"]))
    return frozenset(get_font(font).get_charmap())


def write(figure: Figure, folder: Path, name: str) -> None:
    """Writes NAME.png (300 dpi) and NAME.pdf, each whole or not at all, without a date in them."""
    bare = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    for kind, metadata in bare.items():
        buffer = io.BytesIO()
        with matplotlib.rc_context(RC):
            figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
        files.write(folder / f"{name}.{kind}", buffer.getvalue())
