"""The options of meta-learning."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from abe_jax.bounds import Amount, Natural
from abe_jax.errors import require
from abe_jax.losses.batch import READS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Meta:
    """How the gates are learned on domains held out of each batch.

    The inner step's rate is `inner_rate` times a factor that rises from `cycle_least` to
    `cycle_most` and falls again in each `cycle` of steps.
    """

    domains: Natural = 0  # of a batch's domains those for the inner step; 0: no meta-learning
    start: Natural = 0  # steps before the first meta-update; never before optimizer.new_only ends
    margin: Amount = 0.3  # of its batch-hard triplets
    # What its losses compare: vectors | before_neck | unit_before_neck, as a triplet's `reads`.
    reads: str = "vectors"
    inner_rate: Amount = 0.1
    outer_rate: Amount = 0.1
    cycle: Natural = 0  # in steps; 0: the factor is 1 throughout
    cycle_least: Amount = 0.001
    cycle_most: Amount = 0.1

    def __post_init__(self) -> None:
        require("reads", self.reads, READS)

    def rows(self, batch: int, domains_per_batch: int) -> dict[str, int]:
        """How many rows of a batch are meta-train and meta-test; empty without meta-learning."""
        if not self.domains:
            return {}
        train = batch // domains_per_batch * self.domains
        return {"meta-train": train, "meta-test": batch - train}

    def inner_rate_at(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The rate of the inner step: `inner_rate` times a triangle over the steps of a cycle."""
        if not self.cycle:
            return jnp.float32(self.inner_rate)
        place = (step % self.cycle).astype(jnp.float32) / self.cycle
        height = 1.0 - jnp.abs(2.0 * place - 1.0)
        factor = self.cycle_least + (self.cycle_most - self.cycle_least) * height
        return self.inner_rate * factor
