"""Where images come from and how a batch is made of them."""

import os

# The greatest number of pixels of an image; more are refused before memory is taken for them. All
# formats' headers that decoding.py reads are held to it by ours; OpenCV, which reads this once,
# when it is first imported, holds the others to it.
MOST_PIXELS = 2**27
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))

# Behind the line above, which has to stand before anything imports OpenCV:
from abe_jax.data.dataset import HELD, SPLITS, Dataset  # noqa: E402
from abe_jax.data.images.augmentation import Augmentation  # noqa: E402
from abe_jax.data.images.preprocessing import Preprocessing  # noqa: E402
from abe_jax.data.sampling import Sampling  # noqa: E402
from abe_jax.data.sources import SourceOptions, named  # noqa: E402
from abe_jax.data.sources.datasets import benchmark, folder, glyphs, tfds  # noqa: E402
from abe_jax.data.split import Split  # noqa: E402

__all__ = [
    "HELD",
    "MOST_PIXELS",
    "SPLITS",
    "Augmentation",
    "Dataset",
    "Preprocessing",
    "Sampling",
    "SourceOptions",
    "Split",
    "benchmark",
    "folder",
    "glyphs",
    "named",
    "tfds",
]
