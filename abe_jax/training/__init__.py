"""Training: recipes, the step on all devices, the loop, checkpoints."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.training.length import Train
    from abe_jax.training.loop import fit
    from abe_jax.training.meta import Meta
    from abe_jax.training.optimizer import Optimizer
    from abe_jax.training.recipe import Recipe
    from abe_jax.training.selection import Validation
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Validation": "abe_jax.training.selection",
            "fit": "abe_jax.training.loop",
            "Meta": "abe_jax.training.meta",
            "Optimizer": "abe_jax.training.optimizer",
            "Recipe": "abe_jax.training.recipe",
            "Train": "abe_jax.training.length",
        },
    )

__all__ = ["Meta", "Optimizer", "Recipe", "Train", "Validation", "fit"]
