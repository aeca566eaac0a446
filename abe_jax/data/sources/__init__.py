"""Where images come from: folders, CSV files, TFDS, benchmarks and the embedded glyphs."""

from abe_jax.data.sources.datasets import DATASETS, named
from abe_jax.data.sources.options import SourceOptions

__all__ = ["DATASETS", "SourceOptions", "named"]
