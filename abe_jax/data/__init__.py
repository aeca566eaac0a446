"""Where images come from and how a batch is made of them."""

from abe_jax.data.dataset import HELD, SPLITS, Dataset
from abe_jax.data.images.augmentation import Augmentation
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.sampling import Sampling
from abe_jax.data.sources import SourceOptions, named
from abe_jax.data.sources.datasets import benchmark, folder, glyphs, tfds
from abe_jax.data.split import Split

__all__ = [
    "HELD",
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
