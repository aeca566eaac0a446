"""A run's figures as text tables, as pictures, and as one self-contained page."""

from abe_jax.report import sheet, tables
from abe_jax.report.examples import Attention, Choice, Gallery, choose, gallery
from abe_jax.report.page import write

__all__ = [
    "Attention",
    "Choice",
    "Gallery",
    "choose",
    "gallery",
    "sheet",
    "tables",
    "write",
]
