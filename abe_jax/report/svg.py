"""A figure as inline SVG that follows the colours and the font of the page around it."""

import io
import re
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from abe_jax.report import palette


def inline(figure: Figure, described: str) -> str:
    """The figure as an `<svg>` element.

    Args:
        figure: drawn under `plots.PAGE.rc`.
        described: the figure in a sentence, for readers who cannot see it; escaped already.
    """
    buffer = io.StringIO()
    bare: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    salt: dict[Any, Any] = {"svg.hashsalt": described}  # equal ids in equal plots, and only there
    with matplotlib.rc_context(salt):
        figure.savefig(buffer, format="svg", metadata=bare)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>\s*", "", text, flags=re.DOTALL)  # would rule the whole page
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # these would come again in the next plot
    text = text.replace("'DejaVu Sans', sans-serif", "var(--sans)")
    view = re.search(r'viewBox="[^"]*"', text)
    opening = f'<svg role="img" aria-label="{described}" {view.group() if view else ""}>'
    text = re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)
    for name, colour in palette.COLOURS.items():
        text = text.replace(colour.light, f"var(--{name})")
    return text.strip()
