"""Networks: images [b, h, w, c] -> Embeddings(features [b, m, c], vectors [b, m, d])."""

from typing import Any

import jax.numpy as jnp

from abe_jax.config import Model
from abe_jax.errors import UserError
from abe_jax.models import convnet, googlenet
from abe_jax.models.ensemble import KINDS, Embeddings, Ensemble
from abe_jax.models.stages import Stage, cut, require, with_trunk
from abe_jax.models.weights import graft, new_parameters, stage_params

__all__ = [
    "Embeddings",
    "Ensemble",
    "Stage",
    "build",
    "graft",
    "new_parameters",
    "stage_params",
    "stages",
]

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
NORMS = {"convnet": convnet.NORMS, "googlenet": googlenet.NORMS}


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
    )


def stages(model: Model, axis_name: str | None = None) -> tuple[Stage, ...]:
    """The stages of the config's backbone, from the image to the last map."""
    require("config.model.backbone", model.backbone, NORMS)
    require("config.model.norm", model.norm, NORMS[model.backbone])
    require("config.model.compute", model.compute, DTYPES)
    dtype: Any = DTYPES[model.compute]
    if model.backbone == "googlenet":
        return googlenet.stages(model.norm, dtype)
    if model.width < 1:
        raise UserError(f"config.model.width: {model.width}; it is at least 1")
    return convnet.stages(model.width, model.norm, dtype, axis_name)


def _check(model: Model) -> None:
    require("config.model.kind", model.kind, KINDS)
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
