"""Exact retrieval: neighbours, metrics, and everything measured of one embedded split."""

from abe_jax.evaluation.binary_codes import hamming_nearest, pack
from abe_jax.evaluation.captures import ByColumn, ByDistance, BySequence
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.measure import embed_split, ensemble_metrics, measure_split
from abe_jax.evaluation.metrics import (
    LabelledGallery,
    map_at_r,
    metric_names,
    r_precision,
    recall_at_k,
    scores,
)
from abe_jax.evaluation.network import Embedded, Network
from abe_jax.evaluation.options import Measures, Ranking
from abe_jax.evaluation.protocols import GroundTruth
from abe_jax.evaluation.results import Results
from abe_jax.evaluation.retrieval import evaluate

__all__ = [
    "ByColumn",
    "ByDistance",
    "BySequence",
    "Embedded",
    "Embedder",
    "GroundTruth",
    "LabelledGallery",
    "Measures",
    "Network",
    "Ranking",
    "Results",
    "embed_split",
    "ensemble_metrics",
    "evaluate",
    "hamming_nearest",
    "map_at_r",
    "measure_split",
    "metric_names",
    "pack",
    "r_precision",
    "recall_at_k",
    "scores",
]
