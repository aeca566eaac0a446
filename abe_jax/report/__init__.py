"""A run's results as text tables, as pictures, and as one self-contained page."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.report import tables
    from abe_jax.report.page import Report, write
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "tables": "abe_jax.report.tables:",
            "Report": "abe_jax.report.page",
            "write": "abe_jax.report.page",
        },
    )

__all__ = ["Report", "tables", "write"]
