"""Exact retrieval: neighbours, metrics, and everything measured of one embedded split."""

from abe_jax.retrieval.evaluation import evaluate
from abe_jax.retrieval.metrics import map_at_r, r_precision, recall_at_k
from abe_jax.retrieval.neighbours import nearest

__all__ = ["evaluate", "map_at_r", "nearest", "r_precision", "recall_at_k"]
