"""What raw pixels find without any training: images shrunk as they are read, never all at once."""

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from abe_jax.config import Config
from abe_jax.data import loader
from abe_jax.data.dataset import Split

SIDE = 32  # the floor compares pixels of images no larger than this


def small_pixels(
    split: Split, config: Config, instances: Int[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n i j c"]:
    """The images of a split at `instances` as the network sees them, shrunk to 32 px.

    One batch is held at full size, and the whole split at 3 kB an image.
    """
    batches = loader.in_order(split, config.data, config.evaluate.batch)
    shrunk = [small(image) for batch in batches for image in batch.images]
    return np.stack(shrunk)[: len(split.labels)][instances]


def small(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "i j c"]:
    """The image as a square of 32 px, or of its shorter side where that is less."""
    side = min(SIDE, *image.shape[:2])
    if image.shape[:2] == (side, side):
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1)
