"""How every plot looks, on a run's page and in a paper: axes, and the marks of its series."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from abe_jax.report import palette

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
AREAS = (1.0, 1.0, 1.2, 0.9, 1.2, 1.7)  # of the markers, so that they look equally large

FONT: Mapping[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that all are laid out alike
    "text.parse_math": False,
    "axes.unicode_minus": False,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What differs between a plot on the page and one in a paper; lengths in points."""

    rc: dict[Any, Any]  # for matplotlib.rc_context around everything that draws
    background: str
    spines: tuple[str, ...]  # the sides of a plot that are drawn
    ticks: Mapping[str, Any]
    grid: float  # width of the lines behind the data
    margins: float | None  # of the data within a plot, as a share; None: matplotlib's
    pads: Mapping[str, float]  # around a plot, in inches
    outline: float  # width of a histogram's line
    mean: float  # width of the line at a histogram's mean
    fill: float  # opacity of a histogram's area


PAGE = Look(
    rc={**FONT, "svg.fonttype": "none", "font.size": 8.5},  # text stays text, in the page's font
    background="none",
    spines=("bottom",),
    ticks={"colors": palette.light("soft"), "length": 0},
    grid=0.7,
    margins=0.01,
    pads={},
    outline=1.2,
    mean=1.0,
    fill=0.3,
)


def axes(look: Look, width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` plots above each other, bare of what is not data; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=look.background)
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(**look.pads)  # pyright: ignore
    plots = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for plot in plots:
        plot.set_facecolor(look.background)
        for side, spine in plot.spines.items():
            spine.set_visible(side in look.spines)
            spine.set_color(palette.light("soft"))
        plot.tick_params(**look.ticks)
        plot.grid(axis="y", color=palette.light("rule"), linewidth=look.grid)
        plot.set_axisbelow(True)
        if look.margins is not None:
            plot.margins(x=look.margins)
    return figure, plots


def colour(series: int) -> str:
    """The colour of a series by its number; after six they come again."""
    return palette.light(SERIES[series % len(SERIES)])


def dash(series: int) -> Any:
    """The dash of a series by its number."""
    return DASHES[(series + series // len(SERIES)) % len(DASHES)]


def marks(series: int) -> dict[str, Any]:
    """Colour, dash and marker of a series, by its number, as arguments of a plot."""
    return {
        "color": colour(series),
        "linestyle": dash(series),
        "marker": MARKERS[(series + series // len(SERIES)) % len(MARKERS)],
        "markersize": 2.8,
        "markeredgewidth": 0,
    }
