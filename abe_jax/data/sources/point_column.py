"""Points on images as a column of a CSV file has them: "x y v; x y v", a cell for each image."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from abe_jax.data.images import MOST_PIXELS
from abe_jax.data.sources.csv_file import refuse
from abe_jax.errors import ArgumentError

# What can be wrong with a point, in the order that it is told.
_FORM = "a point that is not 'x y v' (points are parted by ';')"
_PLACE = "a point whose place is no number of px"
_VISIBLE = "a point whose v is neither 1 (visible) nor 0 (not)"


class _Wrong(NamedTuple):
    what: str
    point: str


def points_of(
    path: pathlib.Path, column: str, images: Sequence[str], cells: Sequence[str]
) -> Float[np.ndarray, "n k 3"]:
    """The points of every image: x, y in px of its own upright pixels, visible (1) or not (0).

    A cell holds all points of its image, parted by semicolons, each as three numbers parted by
    spaces; x grows to the right, y downwards, and the first pixel reaches from 0 to 1. All images
    have as many points, in one order; in an empty cell none is visible. A point may lie outside of
    its image, where nothing sees it.

    Raises:
        UserError: a cell of another form, or with another number of points: the first such row.
        ArgumentError: of `points_column`: no cell has a point.
    """
    found = [_points(cell) for cell in cells]
    for what in (_FORM, _PLACE, _VISIBLE):
        named = zip(images, found, strict=True)
        wrong = (
            f"{image} ('{own.point[:40]}')"
            for image, own in named
            if isinstance(own, _Wrong) and own.what == what
        )
        refuse(path, f"{what} in '{column}' (points_column)", wrong)
    points = [own for own in found if not isinstance(own, _Wrong)]
    first = next((row for row, own in enumerate(points) if own), None)
    if first is None:
        raise ArgumentError("points_column", f"no row of {path} has a point in '{column}'")
    count = len(points[first])
    others = (
        f"{image} ({len(own)})"
        for image, own in zip(images, points, strict=True)
        if own and len(own) != count
    )
    as_first = f"{count} points in '{column}' (points_column), as {images[first]} has"
    refuse(path, f"another number than the {as_first}", others)
    hidden = [[0.0, 0.0, 0.0]] * count
    return np.array([own or hidden for own in points], np.float32)


def pairs_of(pairs: Sequence[Sequence[int]], points: int) -> tuple[tuple[int, int], ...]:
    """Pairs of so many points, as `Split.point_pairs` has them.

    Raises:
        ArgumentError: of `point_pairs`: a point that is not there.
    """
    for pair in pairs:
        if max(pair) >= points:
            raise ArgumentError(
                "point_pairs",
                f"{tuple(pair)}, but the images have {points} points, which are 0 to {points - 1}",
            )
    return tuple((one, other) for one, other in pairs)


def _points(cell: str) -> list[list[float]] | _Wrong:
    points = []
    for part in cell.split(";") if cell else ():
        try:
            x, y, visible = map(float, part.split())
        except ValueError:
            return _Wrong(_FORM, part.strip())
        if not (abs(x) <= MOST_PIXELS and abs(y) <= MOST_PIXELS):  # nor is NaN
            return _Wrong(_PLACE, part.strip())
        if visible not in (0, 1):
            return _Wrong(_VISIBLE, part.strip())
        points.append([x, y, visible])
    return points
