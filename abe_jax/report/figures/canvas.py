"""Pictures beside each other on a figure that is measured in inches from its upper left corner."""

import dataclasses
from typing import Any

from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy import ndarray

from abe_jax.report import palette, pixels
from abe_jax.report.figures import layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canvas:
    """A figure whose one axes covers it; x runs to the right and y down, both in inches."""

    figure: Figure
    axes: Axes

    @property
    def height(self) -> float:
        """Of the figure, in inches."""
        return float(self.figure.get_figheight())

    def image(
        self,
        x: float,
        y: float,
        side: float,
        image: UInt8[ndarray, "h w c"],
        *,
        frame: str = "",
        dashed: bool = False,
    ) -> None:
        """A picture in the middle of a square whose upper left corner is at (x, y).

        Its longer side is the square's, its aspect is kept. `frame` is a colour; framed pictures
        lie above the others.
        """
        above = 4.0 if frame else 3.0
        shown = pixels.fitted(image, min(round(side * layout.DPI), 2 * max(image.shape[:2])))
        high, wide = (side * (length / max(image.shape[:2])) for length in image.shape[:2])
        x, y = x + (side - wide) / 2, y + (side - high) / 2
        extent = (x, x + wide, y + high, y)
        self.axes.imshow(shown, extent=extent, aspect="auto", zorder=above, origin="upper")
        edge = Rectangle(
            (x, y),
            wide,
            high,
            fill=False,
            edgecolor=frame or palette.light("rule"),
            linewidth=1.1 if frame else 0.3,
            linestyle=(0, (2.2, 1.2)) if dashed else "-",
            zorder=above + 0.1,
        )
        self.axes.add_patch(edge)

    def text(self, x: float, y: float, words: str, *, most: int = 60, **style: Any) -> None:
        """Words at (x, y), by default below and right of it, cut to `most` characters."""
        given = {"va": "top", "ha": "left", "color": palette.light("ink"), "fontsize": layout.SMALL}
        self.axes.text(x, y, layout.drawable(words, most), **(given | style))

    def scale(self, x: float, y: float, low: float, high: float) -> None:
        """The colours of masks with the values at their two ends, one inch wide."""
        bar = pixels.scale_bar(pixels.MASK)
        self.axes.imshow(bar, extent=(x, x + 1, y + 0.07, y), aspect="auto", origin="upper")
        middle = y + 0.035
        self.text(x - 0.05, middle, f"{low:.3f}", ha="right", va="center_baseline")
        self.text(x + 1.05, middle, f"{high:.3f}", va="center_baseline")


def canvas(width: float, height: float) -> Canvas:
    """An empty white figure of so many inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_autoscale_on(False)
    return Canvas(figure=figure, axes=axes)
