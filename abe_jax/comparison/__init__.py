"""Arms trained side by side over several seeds, and the table of what came of them."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.comparison.arm import Arm, Tuning
    from abe_jax.comparison.arms import Comparison, Stopped, evaluations, tuned
    from abe_jax.comparison.table import Table, tabulated, write
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Arm": "abe_jax.comparison.arm",
            "Tuning": "abe_jax.comparison.arm",
            "Comparison": "abe_jax.comparison.arms",
            "Stopped": "abe_jax.comparison.arms",
            "evaluations": "abe_jax.comparison.arms",
            "tuned": "abe_jax.comparison.arms",
            "Table": "abe_jax.comparison.table",
            "tabulated": "abe_jax.comparison.table",
            "write": "abe_jax.comparison.table",
        },
    )

__all__ = [
    "Arm",
    "Comparison",
    "Stopped",
    "Table",
    "Tuning",
    "evaluations",
    "tabulated",
    "tuned",
    "write",
]
