"""The training loop and what happens beside it: records, warnings, validation, checkpoints."""

from abe_jax.training.loop import fit

__all__ = ["fit"]
