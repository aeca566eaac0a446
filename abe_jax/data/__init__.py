"""Where images come from and how a batch is made of them."""

import os

# The greatest number of pixels of an image; more are refused before memory is taken for them. All
# formats' headers that decoding.py reads are held to it by ours; OpenCV, which reads this once,
# when it is first imported, holds the others to it.
MOST_PIXELS = 2**27
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))

from abe_jax.data.dataset import Dataset  # noqa: E402 (what OpenCV reads stands above)
from abe_jax.data.sources.datasets import benchmark, folder, glyphs, tfds  # noqa: E402
from abe_jax.data.split import Split  # noqa: E402

__all__ = ["MOST_PIXELS", "Dataset", "Split", "benchmark", "folder", "glyphs", "tfds"]
