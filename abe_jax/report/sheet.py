"""Pictures of many images in one: the retrieval sheet and the contact sheet, as PNG."""

import dataclasses
import io
from collections.abc import Sequence
from functools import cache

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from abe_jax.report import palette, pixels
from abe_jax.report.examples import Gallery

DPI = 100
GAP = 10  # pixels between cells
LINE = 20  # pixels of a line of text
FONT = FontProperties(family="DejaVu Sans", size=8.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Canvas:
    """A figure of known size in pixels, drawn on from its upper left corner."""

    figure: Figure
    height: int

    def image(self, x: int, y: int, image: np.ndarray, side: int) -> None:
        tile = pixels.fitted(image, side)
        left, top = x + (side - tile.shape[1]) // 2, y + (side - tile.shape[0]) // 2
        self.figure.figimage(tile, left, self.height - top - tile.shape[0], origin="upper")

    def text(self, x: int, y: int, words: str, colour: str, *, most: int) -> None:
        place = (x / (self.figure.get_figwidth() * DPI), 1 - y / self.height)
        said = drawable(words, most)
        self.figure.text(
            *place, said, color=colour, va="top", ha="left", parse_math=False, fontproperties=FONT
        )

    def frame(self, x: int, y: int, side: int, colour: str, dashed: bool) -> None:
        width = self.figure.get_figwidth() * DPI
        corner = ((x - 2) / width, 1 - (y + side + 2) / self.height)
        self.figure.add_artist(
            Rectangle(
                corner,
                (side + 4) / width,
                (side + 4) / self.height,
                fill=False,
                edgecolor=colour,
                linewidth=2,
                linestyle=(0, (3, 2)) if dashed else "-",
                transform=self.figure.transFigure,
            )
        )

    def png(self) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context({"savefig.bbox": None}):
            self.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()


def _canvas(width: int, height: int) -> _Canvas:
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=palette.light("paper"))
    FigureCanvasAgg(figure)
    return _Canvas(figure=figure, height=height)


@cache
def _drawn() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())


def drawable(words: str, most: int) -> str:
    """The words in what the sheet's font has: other characters by number, then cut to `most`."""
    said = "".join(c if ord(c) in _drawn() else f"U+{ord(c):04X}" for c in words)
    return said if len(said) <= most else said[: most - 1] + "…"


def retrieval(gallery: Gallery, *, side: int = 80, rows: int | None = None) -> bytes:
    """The retrieval sheet as PNG: a row for each query, its neighbours after it, nearest first.

    A neighbour of the query's class has a solid blue frame and ✓, any other a dashed orange frame
    and ✗.

    Args:
        gallery: queries and neighbours.
        side: pixels of an image's side.
        rows: so many of the first queries only.
    """
    shown = range(len(gallery.queries))[:rows]
    step, high = side + GAP, side + LINE + GAP
    columns = gallery.neighbours.shape[1]
    canvas = _canvas((columns + 1) * step + 3 * GAP, max(1, len(shown)) * high + GAP)
    right, most = gallery.right(), max(3, side // 7)
    for at, i in enumerate(shown):
        y, query = GAP + at * high, int(gallery.queries[i])
        canvas.image(GAP, y, gallery.images[query], side)
        canvas.text(GAP, y + side + 6, gallery.name(query), palette.light("ink"), most=most)
        for k, item in enumerate(gallery.neighbours[i]):
            if item < 0:
                continue
            x, same = 3 * GAP + (k + 1) * step, bool(right[i, k])
            colour = palette.light("blue" if same else "orange")
            canvas.image(x, y, gallery.images[item], side)
            canvas.frame(x, y, side, colour, dashed=not same)
            words = f"{'✓' if same else '✗'} {gallery.name(int(item))}"
            canvas.text(x, y + side + 6, words, colour, most=most)
    return canvas.png()


def contact(
    images: Sequence[np.ndarray] | UInt8[np.ndarray, "n h w c"],
    captions: Sequence[str],
    *,
    columns: int = 16,
    side: int = 56,
) -> bytes:
    """A grid of images with a caption under each, row by row, as PNG.

    Args:
        images: n images uint8 [h, w, c], of any sizes.
        captions: n texts; cut where they are too long for their image.
        columns: images of a row.
        side: pixels of an image's side.
    """
    step, high = side + GAP, side + LINE + GAP
    lines = max(1, -(-len(images) // columns))
    canvas = _canvas(columns * step + GAP, lines * high + GAP)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = GAP + i % columns * step, GAP + i // columns * high
        canvas.image(x, y, image, side)
        words = drawable(caption, max(3, side // 7))
        canvas.text(x, y + side + 6, words, palette.light("soft"), most=max(3, side // 7))
    return canvas.png()
