"""Weights that others trained: read from their files, put into our stages, kept as our own."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.pretrained.named import NAMED, describe, load
    from abe_jax.pretrained.sources import SOURCES, convert
    from abe_jax.pretrained.stored import About, Weights, read, write
    from abe_jax.pretrained.vit import fitted
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "NAMED": "abe_jax.pretrained.named",
            "describe": "abe_jax.pretrained.named",
            "load": "abe_jax.pretrained.named",
            "SOURCES": "abe_jax.pretrained.sources",
            "convert": "abe_jax.pretrained.sources",
            "About": "abe_jax.pretrained.stored",
            "Weights": "abe_jax.pretrained.stored",
            "read": "abe_jax.pretrained.stored",
            "write": "abe_jax.pretrained.stored",
            "fitted": "abe_jax.pretrained.vit",
        },
    )

__all__ = [
    "NAMED",
    "SOURCES",
    "About",
    "Weights",
    "convert",
    "describe",
    "fitted",
    "load",
    "read",
    "write",
]
