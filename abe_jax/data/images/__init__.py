"""From the bytes of an image file to the pixels that the network sees."""

import os

# The greatest number of pixels of an image; more are refused before memory is taken for them. All
# formats' headers that decoding.py reads are held to it by ours; OpenCV, which reads this once,
# when it is first imported, holds the others to it.
MOST_PIXELS = 2**27
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))


class UnreadableImage(Exception):  # noqa: N818 (an outcome that the loader counts, not a failure)
    """The bytes are no whole image that can be decoded, or one of more than MOST_PIXELS."""
