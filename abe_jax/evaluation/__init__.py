"""Exact retrieval: neighbours, metrics, and everything measured of one embedded split."""

from abe_jax.evaluation.binary_codes import hamming_nearest, pack
from abe_jax.evaluation.by_domain import by_domain
from abe_jax.evaluation.knn import nearest
from abe_jax.evaluation.measure import evaluate, of_split
from abe_jax.evaluation.metrics import map_at_r, names, r_precision, recall_at_k, scores

__all__ = [
    "by_domain",
    "evaluate",
    "hamming_nearest",
    "map_at_r",
    "names",
    "nearest",
    "of_split",
    "pack",
    "r_precision",
    "recall_at_k",
    "scores",
]
