"""Images turned as their orientation says."""

import cv2
import numpy as np

TURNED = range(5, 9)  # orientations in which the stored rows are the image's columns

# OpenCV's codes: 1 mirrors left to right, 0 top to bottom; from orientation 5 on of a transpose.
_FLIPS = {1: None, 2: 1, 3: -1, 4: 0, 5: None, 6: 1, 7: -1, 8: 0}


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image [h, w] or [h, w, c] upright, by the EXIF orientation of its rows, 1 to 8."""
    if orientation in TURNED:
        image = cv2.transpose(image)
    flip = _FLIPS[orientation]
    return image if flip is None else cv2.flip(image, flip)
