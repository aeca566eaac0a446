"""Networks: images [b, h, w, c] -> Embeddings(features [b, m, c], vectors [b, m, d])."""

import dataclasses
from typing import Any

from abe_jax.errors import require
from abe_jax.models.abe import ABE
from abe_jax.models.backbones.batch_instance import clamped, gates, with_gates
from abe_jax.models.backbones.stages import Stage
from abe_jax.models.backbones.table import BACKBONES, stages
from abe_jax.models.cascade import Cascade, draws
from abe_jax.models.divided import DividedHead
from abe_jax.models.ensemble import Embeddings, Ensemble
from abe_jax.models.fashion_net import (
    FashionNet,
    Predictions,
    asks_points,
    blank_points,
    check_points,
)
from abe_jax.models.multi_head import MultiHead
from abe_jax.models.parameters import (
    graft,
    head_kernels,
    last_layer,
    new_parameters,
    stage_params,
    with_exponent,
)
from abe_jax.models.single_head import SingleHead

__all__ = [
    "ABE",
    "BACKBONES",
    "KINDS",
    "Cascade",
    "DividedHead",
    "Embeddings",
    "Ensemble",
    "FashionNet",
    "MultiHead",
    "Predictions",
    "SingleHead",
    "Stage",
    "asks_points",
    "blank_points",
    "build",
    "check_points",
    "clamped",
    "draws",
    "gates",
    "graft",
    "head_kernels",
    "last_layer",
    "new_parameters",
    "options",
    "stage_params",
    "stages",
    "with_exponent",
    "with_gates",
]

KINDS: dict[str, type[Ensemble]] = {
    "single": SingleHead,
    "heads": MultiHead,
    "divided": DividedHead,
    "cascade": Cascade,
    "attention": ABE,
    "fashion_net": FashionNet,
}
_OF_A_PROCESS = ("axis_name", "parent", "name")  # fields, but no options of the network


def build(kind: str, **given: Any) -> Ensemble:
    """The network of a kind with its options, as `options` gives them.

    Raises:
        ArgumentError: names or numbers that make no network, with the nearest right choice.
    """
    require("kind", kind, KINDS)
    own = _fields(KINDS[kind])
    others = set().union(*map(_fields, KINDS.values())) - own  # a config has those of all kinds
    return KINDS[kind](**{name: value for name, value in given.items() if name not in others})


def options(model: Ensemble) -> dict[str, Any]:
    """What `build` makes the same network of, `kind` included: plain strings and numbers."""
    given = [f.name for f in dataclasses.fields(model) if f.name not in _OF_A_PROCESS]
    return {"kind": model.kind} | {name: getattr(model, name) for name in given}


def _fields(kind: type[Ensemble]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}
