"""Exact retrieval: neighbours, metrics, and everything measured of one embedded split."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.evaluation.across_cameras import reidentification
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
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "hamming_nearest": "abe_jax.evaluation.binary_codes",
            "pack": "abe_jax.evaluation.binary_codes",
            "ByColumn": "abe_jax.evaluation.captures",
            "ByDistance": "abe_jax.evaluation.captures",
            "BySequence": "abe_jax.evaluation.captures",
            "Embedder": "abe_jax.evaluation.embedder",
            "embed_split": "abe_jax.evaluation.measure",
            "ensemble_metrics": "abe_jax.evaluation.measure",
            "measure_split": "abe_jax.evaluation.measure",
            "LabelledGallery": "abe_jax.evaluation.metrics",
            "map_at_r": "abe_jax.evaluation.metrics",
            "metric_names": "abe_jax.evaluation.metrics",
            "r_precision": "abe_jax.evaluation.metrics",
            "recall_at_k": "abe_jax.evaluation.metrics",
            "scores": "abe_jax.evaluation.metrics",
            "Embedded": "abe_jax.evaluation.network",
            "Network": "abe_jax.evaluation.network",
            "Measures": "abe_jax.evaluation.options",
            "Ranking": "abe_jax.evaluation.options",
            "GroundTruth": "abe_jax.evaluation.protocols",
            "reidentification": "abe_jax.evaluation.across_cameras",
            "Results": "abe_jax.evaluation.results",
            "evaluate": "abe_jax.evaluation.retrieval",
        },
    )

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
    "reidentification",
    "scores",
]
