"""Exact retrieval: neighbours, metrics, and everything measured of one embedded split."""

from abe_jax.retrieval.evaluation import evaluate
from abe_jax.retrieval.metrics import map_at_r, names, r_precision, recall_at_k, scores
from abe_jax.retrieval.neighbours import nearest

__all__ = ["evaluate", "map_at_r", "names", "nearest", "r_precision", "recall_at_k", "scores"]
