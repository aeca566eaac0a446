"""What is measured of a split, and how its rows are ranked."""

import dataclasses

from abe_jax.evaluation.search import BLOCK

# What counts as nearly the same photograph, unless it is said: see `captures.py`.
NEAR_COSINE = 0.94  # measured on photographs, see docs/PROTOCOLS.md
NEAR_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranking:
    """By which distance rows are ranked, and how many queries at once."""

    # concatenation: squared Euclidean distance of the concatenated learners; mean_distance: mean
    # over learners of the unsquared distance; hamming: differing bits of packed codes
    ensemble: str = "concatenation"
    block: int = BLOCK  # queries compared with the gallery at once
    # Of metrics: each host ranks some of the queries, and all must call, with the same arguments
    divided: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measures:
    """What an evaluation measures beside the ensemble and its learners."""

    ks: tuple[int, ...] = (1, 2, 4, 8)  # of Recall@K
    domains: bool = False  # also each domain by itself, queries and gallery, and their mean
    block: int = BLOCK  # queries compared with the gallery at once
    binary: bool = False  # the ensemble's binary codes too: bits x > 0, Hamming distance
    grains: bool = False  # also class, instance and copy, where data and model allow each
    copies: int = 100  # `grains`: images whose altered copies look for them; 0: none
    divided: bool = False  # as in Ranking; `measure_split` and `ensemble_metrics` divide always
