"""The experiment's configuration: its schema, config files and overrides."""

from abe_jax.config.files import differences, load, read_json, write_json
from abe_jax.config.parse import from_mapping, nearest, to_mapping
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
    "differences",
    "from_mapping",
    "load",
    "nearest",
    "read_json",
    "to_mapping",
    "write_json",
]
