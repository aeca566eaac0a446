"""Small pieces of HTML; every text that enters a page goes through `text`."""

import html
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8


def text(value: object) -> str:
    """The value as text that no browser takes for markup, also inside a quoted attribute.

    Control characters, which HTML cannot hold, are shown as the replacement character.
    """
    plain = "".join(c if c.isprintable() or c in "\n\t " else "�" for c in str(value))
    return html.escape(plain, quote=True)


def section(name: str, title: str, *content: str) -> str:
    """A section with its heading, or nothing where there is no content."""
    inside = "\n".join(part for part in content if part)
    if not inside:
        return ""
    return (
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{text(title)}</h2>\n'
        f"{inside}\n</section>"
    )


def note(words: str) -> str:
    """A quiet paragraph of explanation; `words` is plain text."""
    return f'<p class="note">{text(words)}</p>'


def card(title: str, words: str, picture: str) -> str:
    """A plot with its title and explanation, or nothing where there is no plot."""
    if not picture:
        return ""
    return (
        f'<figure class="card"><figcaption><h3>{text(title)}</h3><p>{text(words)}</p>'
        f"</figcaption>{picture}</figure>"
    )


def image(picture: UInt8[np.ndarray, "h w c"], alt: str) -> str:
    """An `<img>` that carries its pixels; small ones are shown to the pixel."""
    from abe_jax.report import pixels  # with OpenCV, which a table is printed without

    fine = ' class="fine"' if max(picture.shape[:2]) <= pixels.SMALL else ""
    return f'<img src="{pixels.data_uri(picture)}" alt="{text(alt)}"{fine}>'


def row(cells: Iterable[str], *, head: str = "", kind: str = "") -> str:
    """A table's row; `head` is its `<th>`, `cells` are whole `<td>` elements."""
    named = f' class="{kind}"' if kind else ""
    return f"<tr{named}>{head}{''.join(cells)}</tr>"


def table(body: Iterable[str], *, heads: Iterable[str], kind: str, caption: str = "") -> str:
    """A table that scrolls in itself where the page is narrow; `heads` are plain text."""
    titled = f"<caption>{text(caption)}</caption>" if caption else ""
    top = "".join(
        f'<th scope="col">{text(head)}</th>' if head else '<td aria-hidden="true"></td>'
        for head in heads
    )
    lines = "\n".join(body)
    return (
        f'<div class="scroll"><table class="{kind}">{titled}<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def shot(picture: str, name: str, kind: str, *, detail: str, title: str) -> str:
    """A picture with its mark, its name and a line of detail below it.

    Args:
        picture: an element, such as `image`.
        name: said below it.
        kind: "query", "right", "wrong" or none of these.
        detail: said below the name, or empty.
        title: what a pointer over it shows.
    """
    mark = {"right": "<b>✓</b> ", "wrong": "<b>✗</b> "}.get(kind, "")
    line = f'<span class="detail">{text(detail)}</span>' if detail else ""
    return (
        f'<span class="shot {kind}" title="{text(title)}">{picture}'
        f'<span class="name">{mark}{text(name)}</span>{line}</span>'
    )


def document(title: str, style: str, head: str, sections: Iterable[str]) -> str:
    """A page of its own: no scripts, and nothing fetched from anywhere."""
    inside = "\n".join(part for part in sections if part)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="abe_jax">
<title>{text(title)}</title>
<style>{style}</style>
</head>
<body>
{head}
<main>
{inside}
</main>
<footer><p>Written by abe_jax. This page is one file and loads nothing.</p></footer>
</body>
</html>
"""
