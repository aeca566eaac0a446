"""What is known of images beside their class: points on them, their category, their attributes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from abe_jax.data.images import geometry
from abe_jax.data.images.augmentation import Augmented


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


def placed(
    own: Annotations,
    made: Sequence[Augmented | None],
    size: int,
    pairs: Sequence[tuple[int, int]] = (),
) -> Annotations:
    """The annotations of a split's rows as a batch has them, behind what was done to each image.

    Points and boxes go where the image's pixels went; points that end up outside are not visible
    any more. In a mirrored image the points of each of `pairs` (the left and the right sleeve)
    change places, since left and right are the viewer's. Of an image that could not be read (None)
    no point is visible.
    """
    points, boxes = own.points, own.boxes
    if points is not None:
        found = np.zeros_like(points)
        for row, image in enumerate(made):
            if image is not None:
                moved = image.placement.points(points[row])
                moved = geometry.exchanged(moved, pairs) if image.mirrored else moved
                found[row] = geometry.within(moved, size)
        points = found
    if boxes is not None:
        found = np.zeros_like(boxes)
        for row, image in enumerate(made):
            if image is not None:
                found[row] = image.placement.box(boxes[row]) / size
        boxes = found
    return own._replace(points=points, boxes=boxes)
