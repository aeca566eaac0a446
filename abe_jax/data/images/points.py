"""The annotations of images behind what was done to each image."""

from collections.abc import Sequence

import numpy as np

from abe_jax.data.annotations import Annotations
from abe_jax.data.images import geometry
from abe_jax.data.images.augmentation import Augmented


def placed(
    own: Annotations,
    made: Sequence[Augmented | None],
    shape: tuple[int, int],
    pairs: Sequence[tuple[int, int]] = (),
) -> Annotations:
    """The annotations of a split's rows as a batch has them, behind what was done to each image.

    `shape` is height and width of the images, in px; points and boxes become shares of them.

    Points and boxes go where the image's pixels went; points that end up outside are not visible
    any more. In a mirrored image the points of each of `pairs` (the left and the right sleeve)
    change places, since left and right are the viewer's. Of an image that could not be read (None)
    no point is visible.
    """
    points, boxes = own.points, own.boxes
    sides = np.array([*shape[::-1], *shape[::-1]])  # of x, y, x, y
    if points is not None:
        found = np.zeros_like(points)
        for row, image in enumerate(made):
            if image is not None:
                moved = image.placement.points(points[row])
                moved = geometry.exchanged(moved, pairs) if image.mirrored else moved
                found[row] = geometry.within(moved, shape)
        points = found
    if boxes is not None:
        found = np.zeros_like(boxes)
        for row, image in enumerate(made):
            if image is not None:
                found[row] = image.placement.box(boxes[row]) / sides
        boxes = found
    return own._replace(points=points, boxes=boxes)
