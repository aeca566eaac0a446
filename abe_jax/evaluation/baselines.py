"""What raw pixels find without any training: images shrunk as they are read, never all at once."""

import cv2
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from abe_jax.data import loader
from abe_jax.data.split import Split
from abe_jax.evaluation.network import Network

SIDE = 32  # px: pixels are compared of images no larger than this


def small_pixels(
    network: Network, split: Split, image_ids: Int[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n i j c"]:
    """The images `image_ids` of a split as the network sees them cropped, shrunk to 32 px.

    One batch is kept at full size, and the whole split at 3 kB an image.
    """
    batches = loader.in_order(split, network.preprocessing, network.batch, network.threads)
    shrunk = [small(image) for batch in batches for image in batch.images]
    return np.stack(shrunk)[: len(split.labels)][image_ids]


def small(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "i j c"]:
    """The image shrunk to the area of a square of 32 px, its aspect kept; as it is if smaller."""
    height, width = image.shape[:2]
    scale = SIDE / (height * width) ** 0.5
    if scale >= 1:
        return image
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    return cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA).reshape(high, wide, -1)


def centred_pixels(pixels: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, "n p"]:
    """Images as unit vectors after each image's own mean is subtracted: the untrained baseline.

    Nearest by these is nearest by cosine on mean-centred raw pixels, that is, by correlation. On
    glyphs it finds more than subtracting the mean image of the set (R@1 78 against 73 on the test
    classes): a baseline should be the harder one to beat. An image of one value is the zero vector.
    It takes n * p float32 values of memory, so large images are for the caller to shrink.
    """
    x = pixels.reshape(len(pixels), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths == 0.0, np.float32(1), lengths)
