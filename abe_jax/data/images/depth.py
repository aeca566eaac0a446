"""Samples of any depth as 8 bits."""

import cv2
import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import UnreadableImage


def eight_bits(image: np.ndarray, greatest: int) -> UInt8[np.ndarray, "..."]:
    """Samples of 0 to `greatest` as 0 to 255, rounded; of 8 bits already, as they are.

    Raises:
        UnreadableImage: samples of another type than 8 or 16 bits without a sign.
    """
    if image.dtype == np.uint8 and greatest in (255, 65535):
        return image
    if image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(f"pixels of type {image.dtype}")
    # No tie for 2^n - 1, which is odd.
    return cv2.convertScaleAbs(image, alpha=255 / greatest).reshape(image.shape)
