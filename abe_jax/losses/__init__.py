"""Losses: pure functions in float32 over explicit masks, and the weighted sum a config names."""

from abe_jax.losses.contrastive import contrastive
from abe_jax.losses.diagnostics import diagnostics
from abe_jax.losses.distance_weighted import distance_weighted
from abe_jax.losses.divergence import divergence
from abe_jax.losses.margin import margin_loss
from abe_jax.losses.objective import Objective
from abe_jax.losses.triplet import triplet

__all__ = [
    "Objective",
    "contrastive",
    "diagnostics",
    "distance_weighted",
    "divergence",
    "margin_loss",
    "triplet",
]
