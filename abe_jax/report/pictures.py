"""The report's sections of pictures: the retrieval sheet and where each learner looks."""

from collections.abc import Sequence

import numpy as np

from abe_jax.evaluation.examples import Attention, Gallery
from abe_jax.report import html, pixels

KEY = (
    '<p class="key"><span class="query">query</span>'
    '<span class="right">✓ of the query&rsquo;s class</span>'
    '<span class="wrong">✗ of another class</span></p>'
)


def retrieval(gallery: Gallery | None) -> str:
    """The retrieval sheet: queries and their nearest neighbours, right and wrong marked."""
    if gallery is None or not len(gallery.queries):
        return ""
    spaced = len(gallery.queries) - gallery.failures
    parts = [
        _sheet(gallery, range(spaced), "Queries evenly spaced over the split"),
        _sheet(gallery, range(spaced, len(gallery.queries)), "Queries answered wrongly"),
    ]
    words = (
        f"The {gallery.neighbours.shape[1]} nearest neighbours of {len(gallery.queries)} queries, "
        "nearest first. No query was picked by hand: "
        f"{spaced} are evenly spaced over the split in its order"
    )
    if gallery.failures:
        words += (
            f", then {gallery.failures} evenly spaced over the queries whose nearest neighbour is "
            "of another class, so the second part shows failures only"
        )
    return html.section("retrieval", "Nearest neighbours", html.note(words + "."), KEY, *parts)


def _sheet(gallery: Gallery, lines: Sequence[int], caption: str) -> str:
    if not len(lines):
        return ""
    right = gallery.right()
    body = []
    for i in lines:
        query = _shot(gallery, int(gallery.queries[i]), "query")
        cells = [
            f"<td>{_shot(gallery, int(item), 'right' if same else 'wrong')}</td>"
            for item, same in zip(gallery.neighbours[i], right[i], strict=True)
        ]
        body.append(html.row(cells, head=f'<th scope="row">{query}</th>'))
    heads = ["query", *(str(k + 1) for k in range(gallery.neighbours.shape[1]))]
    return html.table(body, heads=heads, kind="sheet", caption=caption)


def _shot(gallery: Gallery, item: int, kind: str) -> str:
    """One image with its mark, class name and detail; nothing where there is no neighbour."""
    if item < 0:
        return ""
    name = gallery.name(item)
    detail = gallery.details[item] if gallery.details else ""
    picture = html.image(gallery.images[item], f"{kind}: {name}")
    title = f"{name}, {detail}" if detail else name
    return html.shot(picture, name, kind, detail=detail, title=title)


def attention(seen: Attention | None) -> str:
    """Each learner's mean mask over the images, and how it differs from the learners' mean."""
    if seen is None or not len(seen.images):
        return ""
    low, high = float(seen.masks.min()), float(seen.masks.max())
    mean = _maps(seen, seen.masks, low, high, relative=False)
    words = (
        "Each learner's mask over the shared features, averaged over its channels and scaled up to "
        "the image, whose outlines are drawn over it. One scale for all images and learners."
    )
    parts = [html.note(words), _scale(low, high, relative=False), mean]
    if seen.masks.shape[1] > 1:
        difference = seen.masks - seen.masks.mean(axis=1, keepdims=True)
        reach = float(np.abs(difference).max())
        words = (
            "The same masks less their mean over the learners: blue where a learner looks more "
            "than the others do, orange where it looks less. Again one scale for all."
        )
        parts += ['<h3 class="sub">What sets each learner apart</h3>', html.note(words)]
        parts.append(_scale(-reach, reach, relative=True))
        parts.append(_maps(seen, difference, -reach, reach, relative=True))
    return html.section("attention", "Where each learner looks", *parts)


def _maps(seen: Attention, masks: np.ndarray, low: float, high: float, *, relative: bool) -> str:
    colours = pixels.DIFFERENCE if relative else pixels.MASK
    said = "difference to the mean" if relative else "mean mask"
    body = []
    for image, learners, caption in zip(seen.images, masks, seen.captions, strict=True):
        shot = f'<span class="shot query">{html.image(image, f"image: {caption}")}'
        name = f'<span class="name">{html.text(caption)}</span></span>'
        cells = []
        for m, mask in enumerate(learners, start=1):
            drawn = pixels.heat(image, mask, low=low, high=high, colours=colours)
            alt = f"learner {m} on {caption}: {said}, {mask.min():.3f} to {mask.max():.3f}"
            cells.append(f'<td><span class="shot">{html.image(drawn, alt)}</span></td>')
        body.append(html.row(cells, head=f'<th scope="row">{shot}{name}</th>'))
    heads = ["image", *(f"learner {m + 1}" for m in range(masks.shape[1]))]
    return html.table(body, heads=heads, kind="sheet")


def _scale(low: float, high: float, *, relative: bool) -> str:
    """The colour scale with the values at its ends."""
    bar = pixels.scale_bar(pixels.DIFFERENCE if relative else pixels.MASK)
    sign = "+" if relative else ""
    ends = f"{low:{sign}.3f}", f"{high:{sign}.3f}"
    alt = f"colour scale from {ends[0]} to {ends[1]}"
    shown = f'<img src="{pixels.data_uri(bar)}" alt="{alt}">'
    return f'<p class="scale"><span>{ends[0]}</span>{shown}<span>{ends[1]}</span></p>'
