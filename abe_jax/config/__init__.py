"""The experiment's configuration: its schema, config files and overrides, and the objects of it."""

from abe_jax.config.files import differences, load, overridden, read_json, write_json
from abe_jax.config.parse import from_mapping, to_mapping
from abe_jax.config.schema import Config, Data, Evaluate, Meta, Model, Optimizer, Train

__all__ = [
    "Config",
    "Data",
    "Evaluate",
    "Meta",
    "Model",
    "Optimizer",
    "Train",
    "differences",
    "from_mapping",
    "load",
    "overridden",
    "read_json",
    "to_mapping",
    "write_json",
]
