"""A map of an embedding in two dimensions: PCA, then t-SNE, with the images at their places."""

from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Int

from abe_jax.data import loader
from abe_jax.errors import UserError
from abe_jax.report import palette
from abe_jax.report.paper import style
from abe_jax.report.paper.canvas import Canvas, canvas
from abe_jax.report.paper.run import Drawn, Picture, Run, Skipped, evenly

POINTS = 3000  # at most so many images are placed
CLASSES = len(style.SERIES)  # so many are shown in colour
DIMENSIONS = 50  # kept by PCA
PERPLEXITY = 30.0
THUMBNAIL, MARGIN, LEGEND = 0.24, 0.2, 0.3  # inches
HEIGHT = 5.6

Places = Float[np.ndarray, "n 2"]


def require() -> Any:
    """scikit-learn's TSNE.

    Raises:
        UserError: it is not installed.
    """
    try:
        from sklearn.manifold import TSNE  # an extra
    except ModuleNotFoundError as error:
        raise UserError(
            f"the picture 'map' needs {error.name}: pip install 'abe_jax[figures]'"
        ) from None
    return TSNE


@matplotlib.rc_context(style.RC)
def pictures(run: Run) -> Drawn:
    """The map of a run's split."""
    try:
        require()
    except UserError as error:
        return Skipped(str(error))
    chosen = classes(run.labels)
    rows = points(run.labels, chosen)
    if len(rows) < 5:
        return Skipped("fewer than 5 images make no map")
    drawn = canvas(style.PAGE, HEIGHT + LEGEND)
    at = scaled(placed(run.flat[rows]), style.PAGE, HEIGHT)
    of = np.array(
        [
            np.flatnonzero(chosen == label)[0] if label in chosen else -1
            for label in run.labels[rows]
        ]
    )
    shown = apart(at, of >= 0, THUMBNAIL)
    _dots(drawn, at, of)
    _thumbnails(drawn, run, rows[shown], at[shown], of[shown])
    _legend(drawn, [run.split.class_names[label] for label in chosen])
    caption = (
        f"t-SNE of the vectors (PCA to {DIMENSIONS} dimensions, perplexity "
        f"{perplexity(len(rows)):.0f}, seed 0) of {_which(len(rows), len(run.labels))}. "
        f"{len(chosen)} classes, evenly spaced over the split, are in colour. "
        f"{shown.sum():,} of them are drawn as images, at their own place, where there is room. "
        "Distances within a neighbourhood mean something, those between far groups do not. "
        f"{run.words}."
    )
    return [Picture("map", drawn.figure, caption)]


def _which(drawn: int, there: int) -> str:
    if drawn == there:
        return f"all {there:,} images"
    return f"{drawn:,} images: those of the classes in colour, and others evenly spaced"


def classes(labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """The classes in colour, evenly spaced over those of two images or more: none by hand."""
    found, counts = np.unique(labels, return_counts=True)
    several = found[counts > 1]
    return several[evenly(len(several), CLASSES)]


def points(labels: Int[np.ndarray, " n"], chosen: Int[np.ndarray, " k"]) -> Int[np.ndarray, " p"]:
    """The rows on the map: those of the chosen classes, then others evenly, POINTS in all."""
    inside = np.isin(labels, chosen)
    own, others = np.flatnonzero(inside), np.flatnonzero(~inside)
    own = own[evenly(len(own), POINTS)]
    return np.sort(np.concatenate([own, others[evenly(len(others), POINTS - len(own))]]))


def perplexity(count: int) -> float:
    """30, or less where there are too few images for it."""
    return min(PERPLEXITY, max(1.0, (count - 1) / 3))


def placed(vectors: Float[np.ndarray, "n D"]) -> Places:
    """Each vector's place by t-SNE, in units of its own; the same on every call.

    One thread: with several, sums in another order would move every point.
    Source: van der Maaten and Hinton, JMLR 9, 2008; by scikit-learn.
    """
    tsne = require()
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    if (vectors == vectors[0]).all():  # both divide by the spread
        return np.zeros((len(vectors), 2))
    kept = min(DIMENSIONS, *vectors.shape)
    with threadpool_limits(1):
        reduced = PCA(kept, random_state=0).fit_transform(vectors.astype(np.float64))
        found = tsne(perplexity=perplexity(len(reduced)), init="pca", random_state=0)
        return found.fit_transform(reduced).astype(np.float64)


def scaled(places: Places, width: float, height: float) -> Places:
    """The places in inches, one scale for both directions, in the middle of a box with a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([width, height]) - 2 * MARGIN
    spread = np.maximum(high - low, 1e-12)
    scale = float((room / spread).min()) if (high > low).any() else 0.0
    return (places - (low + high) / 2) * scale + np.array([width, height]) / 2


def apart(at: Places, first: Bool[np.ndarray, " n"], side: float) -> Bool[np.ndarray, " n"]:
    """Which places can have a square of this side without overlap: greedily, `first` before others.

    Within the two groups in the order of the rows; so the same places always give the same.
    """
    order = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])
    taken = np.zeros(len(at), bool)
    kept: list[np.ndarray] = []
    for row in order:
        if not kept or (np.abs(np.stack(kept) - at[row]).max(axis=1) >= side * 1.02).all():
            taken[row] = True
            kept.append(at[row])
    return taken


def _dots(drawn: Canvas, at: Places, of: Int[np.ndarray, " n"]) -> None:
    rest = of < 0
    grey = palette.light("soft")
    drawn.axes.scatter(*at[rest].T, s=1.2, color=grey, alpha=0.5, linewidths=0, zorder=1)
    for k in range(CLASSES):
        own = at[of == k]
        drawn.axes.scatter(
            *own.T,
            s=style.AREAS[k] * 9,
            color=style.colour(k),
            marker=style.MARKERS[k],
            linewidths=0.3,
            edgecolors="white",
            zorder=3.5,  # above the images of other classes
        )


def _thumbnails(
    drawn: Canvas, run: Run, rows: Int[np.ndarray, " t"], at: Places, of: Int[np.ndarray, " t"]
) -> None:
    """One image at a time at its full size: what is kept is what is drawn."""
    for row, (x, y), k in zip(rows, at, of, strict=True):
        instance = run.embedded.instances[[row]]
        (image,) = loader.seen(run.split, run.config.data, instance)
        corner = x - THUMBNAIL / 2, y - THUMBNAIL / 2
        frame = style.colour(int(k)) if k >= 0 else ""
        drawn.image(*corner, THUMBNAIL, image, frame=frame, above=4.0 if k >= 0 else 3.0)
        if k >= 0:
            drawn.axes.scatter(
                corner[0] + THUMBNAIL,
                corner[1],
                s=style.AREAS[k] * 11,
                color=frame,
                marker=style.MARKERS[k],
                linewidths=0.4,
                edgecolors="white",
                zorder=5,
            )


def _legend(drawn: Canvas, names: list[str]) -> None:
    step = (style.PAGE - 2 * MARGIN) / max(1, len(names))
    for k, name in enumerate(names):
        x, y = MARGIN + k * step, HEIGHT + LEGEND / 2
        look = {"color": style.colour(k), "marker": style.MARKERS[k], "linewidths": 0}
        drawn.axes.scatter(x, y, s=style.AREAS[k] * 14, **look)
        drawn.text(x + 0.07, y, name, most=max(3, int((step - 0.15) / 0.055)), va="center")
