"""Arms trained side by side over several seeds, and the table of what came of them."""

from abe_jax.comparison.arms import (
    Arm,
    Comparison,
    Stopped,
    Tuning,
    evaluations,
    tuned,
)
from abe_jax.comparison.table import Table, table, write

__all__ = [
    "Arm",
    "Comparison",
    "Stopped",
    "Table",
    "Tuning",
    "evaluations",
    "table",
    "tuned",
    "write",
]
