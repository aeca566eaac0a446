"""Where images come from: folders, CSV files, TFDS, benchmarks and the embedded glyphs."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.data.source_options import SourceOptions
    from abe_jax.data.sources.datasets import DATASETS, named
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "SourceOptions": "abe_jax.data.source_options",
            "DATASETS": "abe_jax.data.sources.datasets",
            "named": "abe_jax.data.sources.datasets",
        },
    )

__all__ = ["DATASETS", "SourceOptions", "named"]
