"""Training: recipes, the step on all devices, the loop, checkpoints."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.training.loop import Validation, fit
    from abe_jax.training.metabin import Meta
    from abe_jax.training.optimizer import Optimizer
    from abe_jax.training.recipe import Recipe, Train
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Validation": "abe_jax.training.loop",
            "fit": "abe_jax.training.loop",
            "Meta": "abe_jax.training.metabin",
            "Optimizer": "abe_jax.training.optimizer",
            "Recipe": "abe_jax.training.recipe",
            "Train": "abe_jax.training.recipe",
        },
    )

__all__ = ["Meta", "Optimizer", "Recipe", "Train", "Validation", "fit"]
