"""How every picture for a paper looks: its widths, type sizes and marks; how it is written."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from abe_jax.report import palette, sheet

COLUMN, PAGE = 3.3, 6.9  # inches: one column of a paper of two, and both
DPI = 300
SMALL, TYPE = 6.0, 7.0  # points of type
LINE = 0.13  # inches of a line of a legend

# Colours stay apart for the common kinds of colour blindness; each has a dash and a marker beside
# it, so that nothing is lost in grey print. A colour that comes again has another dash and marker.
SERIES = ("blue", "orange", "green", "purple", "gold", "sky")
DASHES: Sequence[Any] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (3, 1)),
    (0, (6, 1.5, 1, 1.5, 1, 1.5)),
)
MARKERS = ("o", "s", "^", "D", "v", "P")
AREAS = (1.0, 1.0, 1.2, 0.9, 1.2, 1.7)  # that look alike

RC: dict[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType, embedded: publishers refuse Type 3
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that all are laid out alike
    "font.size": TYPE,
    "axes.titlesize": TYPE,
    "axes.labelsize": TYPE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "text.parse_math": False,
    "axes.unicode_minus": False,
    "savefig.bbox": None,
    "image.composite_image": False,  # each picture stays one in the PDF
}


def colour(at: int) -> str:
    """The colour of the series `at`; they come again after six."""
    return palette.light(SERIES[at % len(SERIES)])


def dash(at: int) -> Any:
    """The dash of the series `at`."""
    return DASHES[(at + at // len(SERIES)) % len(DASHES)]


def marks(at: int) -> dict[str, Any]:
    """Colour, dash and marker of the series `at` as arguments of a plot."""
    return {
        "color": colour(at),
        "linestyle": dash(at),
        "marker": MARKERS[(at + at // len(SERIES)) % len(MARKERS)],
        "markersize": 2.8,
        "markeredgewidth": 0,
    }


def label(name: str) -> str:
    """A run's name as a legend can show it."""
    return sheet.drawable(name, 44)


def plots(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in inches of so many plots above each other, bare of what is not data."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # pyright: ignore
    found = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for plot in found:
        plot.spines[["top", "right"]].set_visible(False)
        plot.spines[["left", "bottom"]].set_color(palette.light("soft"))
        plot.tick_params(colors=palette.light("ink"), length=2, width=0.5, pad=2)
        plot.grid(axis="y", color=palette.light("rule"), linewidth=0.4)
        plot.set_axisbelow(True)
    return figure, found


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
        partial = folder / f"{name}.{kind}.partial"
        partial.write_bytes(buffer.getvalue())
        partial.replace(folder / f"{name}.{kind}")
