"""The experiment's configuration: its schema, config files and overrides."""

from abe_jax.config.files import differences, load, overridden, read_json, write_json
from abe_jax.config.parse import from_mapping, to_mapping
from abe_jax.config.schema import Config, Data, Evaluate, Meta, Model, Optimizer, Train
from abe_jax.config.terms import (
    Clustering,
    Contrastive,
    CrossEntropy,
    Divergence,
    LiftedStructure,
    Margin,
    NormSoftmax,
    NPairs,
    OfPairs,
    ProxyNCA,
    Scatter,
    Shuffle,
    Term,
    Triplet,
)

__all__ = [
    "Clustering",
    "Config",
    "Contrastive",
    "CrossEntropy",
    "Data",
    "Divergence",
    "Evaluate",
    "LiftedStructure",
    "Margin",
    "Meta",
    "Model",
    "NPairs",
    "NormSoftmax",
    "OfPairs",
    "Optimizer",
    "ProxyNCA",
    "Scatter",
    "Shuffle",
    "Term",
    "Train",
    "Triplet",
    "differences",
    "from_mapping",
    "load",
    "overridden",
    "read_json",
    "to_mapping",
    "write_json",
]
