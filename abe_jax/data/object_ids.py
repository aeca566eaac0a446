"""Which images show one and the same object, where a data set says so."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from abe_jax.data.sources.listing import Image


def of_names(images: Sequence[Image]) -> Int[np.ndarray, " n"]:
    """A number for each image, alike for images of one class and one instance.

    An image whose instance is not named is alone (a distractor, say).
    """
    objects = [(image.label, image.instance or f"\0{image.path}") for image in images]
    numbers = {one: place for place, one in enumerate(dict.fromkeys(objects))}
    return np.array([numbers[one] for one in objects], np.int32)


def of_groups(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """A number for each image, alike for images of one class and one group."""
    return np.unique(np.stack([labels, groups]), axis=1, return_inverse=True)[1].astype(np.int32)
