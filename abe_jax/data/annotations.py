"""What is known of images beside their class: points on them, their category, their attributes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Annotations(NamedTuple):
    """Columns of a split or of a batch, a row for each image; None: this is not known of them.

    Of a split, points and boxes are in px of the image's own pixels, upright: x grows to the
    right, y downwards, and the first pixel reaches from 0 to 1. Of a batch they are shares of the
    width and height that the network sees, so that what is seen lies between 0 and 1.
    """

    points: Float[np.ndarray, "n k 3"] | None = None  # float32: x, y, visible (1) or not (0)
    boxes: Float[np.ndarray, "n 4"] | None = None  # float32: left, top, right, bottom
    categories: Int[np.ndarray, " n"] | None = None  # int32
    attributes: Bool[np.ndarray, "n a"] | None = None

    def rows(self, rows: Int[np.ndarray, " k"]) -> "Annotations":
        """Those of the images `rows`, in that order."""
        return Annotations(*(None if column is None else column[rows] for column in self))


def blank(rows: int, points: int, attributes: int) -> Annotations:
    """Of so many images of which nothing is to be seen: no point is visible, all bits are 0."""
    return Annotations(
        points=np.zeros((rows, points, 3), np.float32) if points else None,
        categories=np.zeros(rows, np.int32),
        attributes=np.zeros((rows, attributes), np.bool_) if attributes else None,
    )
