"""Where images come from: folders, CSV files, TFDS, benchmarks and the embedded glyphs."""

from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources.datasets import DATASETS, named

__all__ = ["DATASETS", "SourceOptions", "named"]
