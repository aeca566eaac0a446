"""Losses: pure functions in float32 over explicit masks, and terms that add up to an objective.

`contrastive(vectors, labels, margin=0.5)` is a function; `Contrastive(margin=0.5)` is the same loss
as a term: `Contrastive(margin=0.5) + 0.1 * Divergence() + 0.2 * custom(my_fn)`.
"""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy
from abe_jax.losses.adversarial import Adversarial, adversarial
from abe_jax.losses.annotated import Attributes, Category, Landmarks, Visibility
from abe_jax.losses.arc_face import ArcFace, arc_face
from abe_jax.losses.boosted import Boosted, boosted
from abe_jax.losses.circle import Circle, circle
from abe_jax.losses.clustering import Clustering, clustering
from abe_jax.losses.contrastive import Contrastive, contrastive
from abe_jax.losses.cos_face import CosFace, cos_face
from abe_jax.losses.cross_entropy import CrossEntropy, cross_entropy
from abe_jax.losses.custom import Custom, custom
from abe_jax.losses.diagnostics import diagnostics
from abe_jax.losses.distance_weighted import distance_weighted
from abe_jax.losses.divergence import Divergence, divergence
from abe_jax.losses.domains import Scatter, Shuffle, blocks, scatter, shuffle
from abe_jax.losses.fast_ap import FastAP, fast_ap
from abe_jax.losses.hard_share import HardShare, hard_share
from abe_jax.losses.lifted_structure import LiftedStructure, lifted_structure
from abe_jax.losses.margin import Margin, margin_loss
from abe_jax.losses.multi_similarity import MultiSimilarity, multi_similarity
from abe_jax.losses.n_pairs import NPairs, n_pairs
from abe_jax.losses.norm_softmax import NormSoftmax, norm_softmax
from abe_jax.losses.nt_xent import NTXent, nt_xent
from abe_jax.losses.proxy_anchor import ProxyAnchor, proxy_anchor
from abe_jax.losses.proxy_nca import ProxyNCA, proxy_nca
from abe_jax.losses.recall_at_k import RecallAtK, recall_at_k
from abe_jax.losses.smooth_ap import SmoothAP, smooth_ap
from abe_jax.losses.soft_triple import SoftTriple, soft_triple
from abe_jax.losses.stages import TrainingStage
from abe_jax.losses.sup_con import SupCon, sup_con
from abe_jax.losses.table import OF_PREDICTIONS, TERMS
from abe_jax.losses.term import Sum, Term, keys, terms
from abe_jax.losses.triplet import Triplet, triplet

# With Flax, which a config is read without.
if TYPE_CHECKING:
    from abe_jax.losses.objective import Objective, classifier, rates
else:
    _OBJECTIVE = dict.fromkeys(("Objective", "classifier", "rates"), "abe_jax.losses.objective")
    __getattr__, __dir__ = lazy(__name__, _OBJECTIVE)

__all__ = [
    "OF_PREDICTIONS",
    "TERMS",
    "Adversarial",
    "ArcFace",
    "Attributes",
    "Boosted",
    "Category",
    "Circle",
    "Clustering",
    "Contrastive",
    "CosFace",
    "CrossEntropy",
    "Custom",
    "Divergence",
    "FastAP",
    "HardShare",
    "Landmarks",
    "LiftedStructure",
    "Margin",
    "MultiSimilarity",
    "NPairs",
    "NTXent",
    "NormSoftmax",
    "Objective",
    "ProxyAnchor",
    "ProxyNCA",
    "RecallAtK",
    "Scatter",
    "Shuffle",
    "SmoothAP",
    "SoftTriple",
    "Sum",
    "SupCon",
    "Term",
    "TrainingStage",
    "Triplet",
    "Visibility",
    "adversarial",
    "arc_face",
    "blocks",
    "boosted",
    "circle",
    "classifier",
    "clustering",
    "contrastive",
    "cos_face",
    "cross_entropy",
    "custom",
    "diagnostics",
    "distance_weighted",
    "divergence",
    "fast_ap",
    "hard_share",
    "keys",
    "lifted_structure",
    "margin_loss",
    "multi_similarity",
    "n_pairs",
    "norm_softmax",
    "nt_xent",
    "proxy_anchor",
    "proxy_nca",
    "rates",
    "recall_at_k",
    "scatter",
    "shuffle",
    "smooth_ap",
    "soft_triple",
    "sup_con",
    "terms",
    "triplet",
]
