"""Losses: pure functions in float32 over explicit masks, and the weighted sum a config names."""

from abe_jax.losses.contrastive import contrastive
from abe_jax.losses.diagnostics import diagnostics
from abe_jax.losses.divergence import divergence
from abe_jax.losses.objective import Objective

__all__ = ["Objective", "contrastive", "diagnostics", "divergence"]
