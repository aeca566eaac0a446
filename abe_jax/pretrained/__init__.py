"""Weights that others trained: read from their files, put into our stages, kept as our own."""

from abe_jax.pretrained.named import NAMED, describe, load
from abe_jax.pretrained.sources import SOURCES, convert
from abe_jax.pretrained.stored import About, Weights, read, write
from abe_jax.pretrained.vit import fitted

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
