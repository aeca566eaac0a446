"""A map of an embedding in two dimensions, by PCA, then t-SNE, with images where they lie."""

from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Int

from abe_jax.errors import UserError
from abe_jax.evaluation.examples import evenly
from abe_jax.report import palette, plots
from abe_jax.report.figures import layout
from abe_jax.report.figures.canvas import Canvas, canvas
from abe_jax.report.figures.embedded_run import Drawn, EmbeddedRun, Picture, Skipped

POINTS = 3000  # at most so many images are placed
CLASSES = len(plots.SERIES)  # so many are shown in colour
DIMENSIONS = 50  # kept by PCA
PERPLEXITY = 30.0
THUMBNAIL, MARGIN, LEGEND = 0.24, 0.2, 0.3  # inches
HEIGHT = 5.6

Points = Float[np.ndarray, "n 2"]


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


@matplotlib.rc_context(layout.RC)
def pictures(run: EmbeddedRun) -> Drawn:
    """The map of a run's split."""
    try:
        require()
    except UserError as error:
        return Skipped(str(error))
    chosen = classes(run.labels)
    rows = mapped(run.labels, chosen)
    if len(rows) < 5:
        return Skipped("fewer than 5 images make no map")
    drawn = canvas(layout.PAGE, HEIGHT + LEGEND)
    points = scaled(projected(run.flat[rows]), layout.PAGE, HEIGHT)
    series = np.array([_series(int(label), chosen) for label in run.labels[rows]])
    shown = without_overlap(points, series >= 0, THUMBNAIL)
    _dots(drawn, points, series)
    _thumbnails(drawn, run, rows[shown], points[shown], series[shown])
    _legend(drawn, [run.split.class_names[label] for label in chosen])
    caption = (
        f"t-SNE of the vectors (PCA to {DIMENSIONS} dimensions, perplexity "
        f"{perplexity(len(rows)):.0f}, seed 0) of {_which(len(rows), len(run.labels))}. "
        f"{len(chosen)} classes, evenly spaced over the split, are in colour. "
        f"{shown.sum():,} images are drawn where they lie, as far as there is room. "
        "Distances within a neighbourhood mean something, those between far groups do not. "
        f"{run.words}."
    )
    return [Picture("map", drawn.figure, caption)]


def _series(label: int, chosen: Int[np.ndarray, " k"]) -> int:
    """The number of a class among those in colour; -1 for another."""
    return int(np.flatnonzero(chosen == label)[0]) if label in chosen else -1


def _which(drawn: int, images: int) -> str:
    if drawn == images:
        return f"all {images:,} images"
    return f"{drawn:,} images: those of the classes in colour, and others evenly spaced"


def classes(labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """The classes in colour, evenly spaced over those of two images or more: none by hand."""
    labels, counts = np.unique(labels, return_counts=True)
    several = labels[counts > 1]
    return several[evenly(len(several), CLASSES)]


def mapped(labels: Int[np.ndarray, " n"], chosen: Int[np.ndarray, " k"]) -> Int[np.ndarray, " p"]:
    """The rows that are mapped: those of the chosen classes, then others evenly, POINTS in all."""
    inside = np.isin(labels, chosen)
    own, others = np.flatnonzero(inside), np.flatnonzero(~inside)
    own = own[evenly(len(own), POINTS)]
    return np.sort(np.concatenate([own, others[evenly(len(others), POINTS - len(own))]]))


def perplexity(count: int) -> float:
    """30, or less where there are too few images for it."""
    return min(PERPLEXITY, max(1.0, (count - 1) / 3))


def projected(vectors: Float[np.ndarray, "n D"]) -> Points:
    """Each vector's point by t-SNE, in units of its own; the same on every call.

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
        map_ = tsne(perplexity=perplexity(len(reduced)), init="pca", random_state=0)
        return map_.fit_transform(reduced).astype(np.float64)


def scaled(points: Points, width: float, height: float) -> Points:
    """The points in inches, one scale for both directions, in the middle of a box with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([width, height]) - 2 * MARGIN
    spread = np.maximum(high - low, 1e-12)
    scale = float((room / spread).min()) if (high > low).any() else 0.0
    return (points - (low + high) / 2) * scale + np.array([width, height]) / 2


def without_overlap(
    points: Points, first: Bool[np.ndarray, " n"], side: float
) -> Bool[np.ndarray, " n"]:
    """Which points can have a square of this side without overlap, chosen greedily.

    Those of `first` are tried before the others, each in the order of the rows.
    """
    order = np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)])
    taken = np.zeros(len(points), bool)
    kept, count = np.empty_like(points), 0
    for row in order:
        if (np.abs(kept[:count] - points[row]).max(axis=1) >= side * 1.02).all():
            taken[row] = True
            kept[count], count = points[row], count + 1
    return taken


def _dots(drawn: Canvas, points: Points, series: Int[np.ndarray, " n"]) -> None:
    rest = series < 0
    grey = palette.light("soft")
    drawn.axes.scatter(*points[rest].T, s=1.2, color=grey, alpha=0.5, linewidths=0, zorder=1)
    for k in range(CLASSES):
        own = points[series == k]
        drawn.axes.scatter(
            *own.T,
            s=plots.AREAS[k] * 9,
            color=plots.colour(k),
            marker=plots.MARKERS[k],
            linewidths=0.3,
            edgecolors="white",
            zorder=3.5,  # above the images of other classes
        )


def _thumbnails(
    drawn: Canvas,
    run: EmbeddedRun,
    rows: Int[np.ndarray, " t"],
    points: Points,
    series: Int[np.ndarray, " t"],
) -> None:
    """One image at a time at its full size: what is kept is what is drawn."""
    for row, (x, y), k in zip(rows, points, series, strict=True):
        (image,) = run.images(np.array([row]))
        corner = x - THUMBNAIL / 2, y - THUMBNAIL / 2
        frame = plots.colour(int(k)) if k >= 0 else ""
        drawn.image(*corner, THUMBNAIL, image, frame=frame)
        if k >= 0:
            drawn.axes.scatter(
                corner[0] + THUMBNAIL,
                corner[1],
                s=plots.AREAS[k] * 11,
                color=frame,
                marker=plots.MARKERS[k],
                linewidths=0.4,
                edgecolors="white",
                zorder=5,
            )


def _legend(drawn: Canvas, names: list[str]) -> None:
    step = (layout.PAGE - 2 * MARGIN) / max(1, len(names))
    for k, name in enumerate(names):
        x, y = MARGIN + k * step, HEIGHT + LEGEND / 2
        look = {"color": plots.colour(k), "marker": plots.MARKERS[k], "linewidths": 0}
        drawn.axes.scatter(x, y, s=plots.AREAS[k] * 14, **look)
        drawn.text(x + 0.07, y, name, most=max(3, int((step - 0.15) / 0.055)), va="center")
