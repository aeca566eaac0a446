"""Weights that others trained: read from their files, put into our stages, kept as our own."""

from abe_jax.weights.named import NAMED, describe, load
from abe_jax.weights.sources import SOURCES, convert
from abe_jax.weights.stored import About, Weights, read, write
from abe_jax.weights.vit import fitted

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
