"""A run's results as text tables, as pictures, and as one self-contained page."""

from abe_jax.report import tables
from abe_jax.report.page import Report, write

__all__ = ["Report", "tables", "write"]
