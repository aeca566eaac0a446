"""Networks: images [b, h, w, c] -> Embeddings(features [b, m, c], vectors [b, m, d])."""

import math

from abe_jax.config import Model
from abe_jax.errors import UserError
from abe_jax.models import pooling
from abe_jax.models.backbones.batch_instance import clamped, gates, with_gates
from abe_jax.models.backbones.stages import Stage, cut, require, with_trunk
from abe_jax.models.backbones.table import DTYPES, backbone, stages
from abe_jax.models.ensemble import HEADS, KINDS, Embeddings, Ensemble, with_exponent
from abe_jax.models.grafting import graft, new_parameters, stage_params

__all__ = [
    "Embeddings",
    "Ensemble",
    "Stage",
    "build",
    "clamped",
    "gates",
    "graft",
    "new_parameters",
    "stage_params",
    "stages",
    "with_exponent",
    "with_gates",
]


def build(model: Model, axis_name: str | None = None) -> Ensemble:
    """The network that a config names; `module.apply(variables, images, train=...)` embeds.

    Args:
        model: the config's part for the model.
        axis_name: the device axis over which batch normalisation gathers its statistics while
            training; None where no such axis is bound.

    Raises:
        UserError: names or numbers that make no network, with the nearest right choice.
    """
    _check(model)
    parts = cut(stages(model, axis_name), model.branch)
    if model.kind == "attention":
        parts = with_trunk(parts, model.trunk_depth)
    return Ensemble(
        cut=parts,
        kind=model.kind,
        learners=model.learners,
        dim=model.dim,
        dtype=DTYPES[model.compute],
        pooling=_pooling(model),
        layer_norm=model.layer_norm,
        head_kind=model.head,
    )


def _pooling(model: Model) -> pooling.Pooling:
    tokens = backbone(model.backbone).tokens
    pooling.require_fit(model.pooling, tokens)
    if model.pooling == "gem" and model.gem_learned and math.isinf(model.gem_p):
        raise UserError(
            "config.model.gem_p: inf is the maximum and cannot be learned; "
            "start from 3, or set gem_learned to False"
        )
    return pooling.Pooling(
        kind=model.pooling, p=model.gem_p, learned=model.gem_learned, tokens=tokens
    )


def _check(model: Model) -> None:
    require("config.model.kind", model.kind, KINDS)
    require("config.model.pooling", model.pooling, pooling.POOLINGS)
    require("config.model.head", model.head, HEADS)
    if model.width < 1:
        raise UserError(f"config.model.width: {model.width}; it is at least 1")
    m, dim = model.learners, model.dim
    if m < 1:
        raise UserError(f"config.model.learners: {m}; there is at least 1")
    if model.kind == "single" and m != 1:
        raise UserError(
            f"config.model.learners: {m}, but config.model.kind 'single' has one; "
            "set learners to 1, or kind to 'heads' or 'attention'"
        )
    if dim < 1 or dim % m:
        below, above = max(dim, 0) // m * m, (max(dim, 0) // m + 1) * m
        near = f"{below} or {above}" if below else f"{above}"
        raise UserError(
            f"config.model.dim: {dim} does not split evenly over {m} learners; "
            f"the nearest is {near}"
        )
