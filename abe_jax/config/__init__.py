"""The experiment's configuration: schema, parsing and the command line."""

from abe_jax.config.schema import (
    Config,
    Contrastive,
    Data,
    Divergence,
    Evaluate,
    Model,
    Optimizer,
    Term,
    Train,
)

__all__ = [
    "Config",
    "Contrastive",
    "Data",
    "Divergence",
    "Evaluate",
    "Model",
    "Optimizer",
    "Term",
    "Train",
]
