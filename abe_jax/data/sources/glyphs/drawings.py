"""A typeface's drawing of a character as a small grey image."""

import collections
import dataclasses
import unicodedata

import numpy as np
from fontTools.ttLib import TTFont
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from abe_jax.data.sources.glyphs.typefaces import Style

SIDE = 32  # px of the square image
EM = 22  # px of the type size: cap height about 16, and the tallest accents still fit
BASELINE = 23  # px from the top, the same for all, so that o and O, comma and quote differ
_OVERSAMPLE = 4  # drawn larger and averaged: no hinting to a pixel grid that the eye never sees

# Left out: what draws nothing (control, format, space, line and paragraph ends), what is no
# character (surrogate, private, unassigned) and what draws on another character (marks).
_LEFT_OUT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"})
_REPLACEMENT = 0xFFFD  # stands for what could not be drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawings:
    """Drawings of many characters by many styles, ordered by style, then by code point."""

    images: UInt8[np.ndarray, "n 32 32"]  # ink 255 on ground 0
    style: Int[np.ndarray, "n"]  # index of the style
    character: Int[np.ndarray, "n"]  # code point


def draw(characters: frozenset[str] | None, styles: tuple[Style, ...], families: int) -> Drawings:
    """Draws every character that at least so many families have; None: all characters.

    White ink on black, the ink centred sideways, one baseline and one type size for all; accents
    that would leave the square push the drawing down, and what is too wide is set smaller.
    A character counts as had when the font's own table maps it to a glyph other than .notdef and
    that glyph leaves ink.
    """
    had = [_code_points(style, characters) for style in styles]
    coverage: dict[int, set[str]] = collections.defaultdict(set)
    for style, points in zip(styles, had, strict=True):
        for point in points:
            coverage[point].add(style.family)
    images, style_index, drawn = [], [], []
    for i, style in enumerate(tqdm(styles, desc="glyphs: drawing", unit="style", mininterval=1)):
        font = _font(style, EM * _OVERSAMPLE)
        for point in had[i]:
            image = _drawing(font, chr(point)) if len(coverage[point]) >= families else None
            if image is not None:
                images.append(image)
                style_index.append(i)
                drawn.append(point)
    return Drawings(images=np.stack(images), style=np.array(style_index), character=np.array(drawn))


def _code_points(style: Style, characters: frozenset[str] | None) -> list[int]:
    with TTFont(style.path, lazy=True) as font:
        table: dict[int, str] = font.getBestCmap() or {}
    return sorted(
        point
        for point, glyph in table.items()
        if glyph != ".notdef"
        and point != _REPLACEMENT
        and unicodedata.category(chr(point)) not in _LEFT_OUT
        and (characters is None or chr(point) in characters)
    )


def _font(style: Style, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout draws the mapped glyph itself; Raqm, where installed, would substitute.
    return ImageFont.truetype(style.path, size, layout_engine=ImageFont.Layout.BASIC)


def _drawing(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray | None:
    side = SIDE * _OVERSAMPLE
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    extent = max(right - left, bottom - top)
    if extent > side:
        font = font.font_variant(size=int(font.size * side / extent) - 1)
        left, top, right, bottom = font.getbbox(character, anchor="ls")
    x = round((side - left - right) / 2)
    y = min(max(BASELINE * _OVERSAMPLE, -round(top)), side - round(bottom))
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).text((x, y), character, font=font, fill=255, anchor="ls")
    image = np.asarray(canvas.reduce(_OVERSAMPLE))
    return image if image.any() else None
