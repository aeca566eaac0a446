"""Where points of an image come to lie when it is resized, cut and mirrored."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Placement(NamedTuple):
    """Where an image's pixels lie in another: (x, y) becomes scale * (x, y) + shift, by axis.

    Coordinates are in px, the first pixel from 0 to 1, so its middle is at 0.5.
    """

    scale: tuple[float, float] = (1.0, 1.0)  # of x, of y
    shift: tuple[float, float] = (0.0, 0.0)

    def then(self, other: "Placement") -> "Placement":
        """This one, and `other` behind it."""
        pairs = zip(other.scale, self.scale, self.shift, other.shift, strict=True)
        found = [(a * b, a * c + d) for a, b, c, d in pairs]
        return Placement((found[0][0], found[1][0]), (found[0][1], found[1][1]))

    def points(self, x: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k 3"]:
        """Points (x, y, visible) where they lie afterwards."""
        moved = x[:, :2] * np.array([self.scale]) + np.array([self.shift])
        return np.concatenate([moved, x[:, 2:]], axis=1)

    def box(self, x: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
        """A box (left, top, right, bottom) where it lies afterwards; mirrored, its sides swap."""
        corners = x.reshape(2, 2) * np.array([self.scale]) + np.array([self.shift])
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def resized(height: float, width: float, to_height: float, to_width: float) -> Placement:
    """Of an image that is resampled to another height and width."""
    return Placement((to_width / width, to_height / height))


def moved(left: float, top: float) -> Placement:
    """Of an image laid so far to the right and so far down."""
    return Placement(shift=(left, top))


def mirrored(width: float) -> Placement:
    """Of an image of this width that is mirrored left to right."""
    return Placement(scale=(-1.0, 1.0), shift=(width, 0.0))


def exchanged(
    points: Float[np.ndarray, "k 3"], pairs: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "k 3"]:
    """Points of which each pair, such as the left and the right sleeve, has changed places."""
    order = np.arange(len(points))
    for one, other in pairs:
        order[[one, other]] = other, one
    return points[order]


def within(points: Float[np.ndarray, "k 3"], shape: tuple[int, int]) -> Float[np.ndarray, "k 3"]:
    """Points as shares of an image's width and height; one outside of it is not visible."""
    share = points[:, :2] / np.array([shape[::-1]])
    inside = ((share >= 0) & (share < 1)).all(axis=1)
    return np.concatenate([share, (points[:, 2] * inside)[:, None]], axis=1).astype(np.float32)
