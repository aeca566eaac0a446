"""Stages of a training that alternate: other weights of the losses, and parts that stand still."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from abe_jax.bounds import Amount, Count
from abe_jax.errors import ArgumentError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """So many steps in which each term's weight has a factor and some parts do not learn.

    The stages of a training follow each other in their order, and the first comes again behind the
    last. Which one a step is in is a function of its number alone.
    """

    steps: Count = 1000
    # What the weight of each term of the objective is multiplied by, in their order; empty: 1.
    factors: tuple[Amount, ...] = ()
    fixed: tuple[str, ...] = ()  # parts of the model that stand still, such as pose, pose_decoder


def check(stages: Sequence[TrainingStage], terms: int) -> None:
    """Refuses a stage with factors, but not one for each of so many terms.

    Raises:
        ArgumentError: of `stages`.
    """
    for number, stage in enumerate(stages):
        if stage.factors and len(stage.factors) != terms:
            raise ArgumentError(
                "stages",
                f"stage {number} has {len(stage.factors)} factors for {terms} terms of the "
                "objective; give one for each, in their order, or none",
            )


def stage_at(stages: Sequence[TrainingStage], step: Int[Array, ""]) -> Int[Array, ""]:
    """The number of the stage that a step is in, counted from 0."""
    ends = jnp.cumsum(jnp.asarray([stage.steps for stage in stages], jnp.int32))
    return jnp.sum(step % ends[-1] >= ends, dtype=jnp.int32)


def factors(
    stages: Sequence[TrainingStage], terms: int, step: Int[Array, ""] | None
) -> Float[Array, " t"] | None:
    """What each term's weight is multiplied by at a step; None where there are no stages."""
    if not stages or step is None:
        return None
    table = [stage.factors or (1.0,) * terms for stage in stages]
    return jnp.asarray(table, jnp.float32)[stage_at(stages, step)]
