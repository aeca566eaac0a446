"""Losses: pure functions in float32 over explicit masks, and the weighted sum a config names."""

from abe_jax.losses.clustering import clustering
from abe_jax.losses.contrastive import contrastive
from abe_jax.losses.cross_entropy import cross_entropy
from abe_jax.losses.diagnostics import diagnostics
from abe_jax.losses.distance_weighted import distance_weighted
from abe_jax.losses.divergence import divergence
from abe_jax.losses.domains import blocks, scatter, shuffle
from abe_jax.losses.lifted_structure import lifted_structure
from abe_jax.losses.margin import margin_loss
from abe_jax.losses.n_pairs import n_pairs
from abe_jax.losses.norm_softmax import norm_softmax
from abe_jax.losses.objective import Objective
from abe_jax.losses.proxy_nca import proxy_nca
from abe_jax.losses.triplet import triplet

__all__ = [
    "Objective",
    "blocks",
    "clustering",
    "contrastive",
    "cross_entropy",
    "diagnostics",
    "distance_weighted",
    "divergence",
    "lifted_structure",
    "margin_loss",
    "n_pairs",
    "norm_softmax",
    "proxy_nca",
    "scatter",
    "shuffle",
    "triplet",
]
