"""Exact retrieval: neighbours, metrics, and everything measured of one embedded split."""

from abe_jax.retrieval.by_domain import by_domain
from abe_jax.retrieval.codes import hamming_nearest, pack
from abe_jax.retrieval.evaluation import evaluate, of_split
from abe_jax.retrieval.metrics import map_at_r, names, r_precision, recall_at_k, scores
from abe_jax.retrieval.neighbours import nearest

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
