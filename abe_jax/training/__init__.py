"""Training: recipes, the step on all devices, the loop, checkpoints."""

from abe_jax.training.loop import Validation, fit
from abe_jax.training.metabin import Meta
from abe_jax.training.optimizer import Optimizer
from abe_jax.training.recipe import Recipe, Train

__all__ = ["Meta", "Optimizer", "Recipe", "Train", "Validation", "fit"]
