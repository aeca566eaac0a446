"""Where images come from and how a batch is made of them."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.data.dataset import HELD_OUT, SPLITS, Dataset
    from abe_jax.data.images.augmentation import Augmentation
    from abe_jax.data.images.preprocessing import Preprocessing
    from abe_jax.data.sampling import Sampling
    from abe_jax.data.sources import SourceOptions, named
    from abe_jax.data.sources.datasets import benchmark, folder, glyphs, tfds
    from abe_jax.data.split import Split
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "HELD_OUT": "abe_jax.data.dataset",
            "SPLITS": "abe_jax.data.dataset",
            "Dataset": "abe_jax.data.dataset",
            "Augmentation": "abe_jax.data.images.augmentation",
            "Preprocessing": "abe_jax.data.images.preprocessing",
            "Sampling": "abe_jax.data.sampling",
            "SourceOptions": "abe_jax.data.sources",
            "named": "abe_jax.data.sources",
            "benchmark": "abe_jax.data.sources.datasets",
            "folder": "abe_jax.data.sources.datasets",
            "glyphs": "abe_jax.data.sources.datasets",
            "tfds": "abe_jax.data.sources.datasets",
            "Split": "abe_jax.data.split",
        },
    )

__all__ = [
    "HELD_OUT",
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
