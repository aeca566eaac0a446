"""A loss of one's own as a term beside the others."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError
from abe_jax.losses import pairs
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import Parameters, Term

# What metrics.csv has beside the terms' values.
TAKEN = ("loss", "gradient_norm", "cosine", "positive_distance", "negative_distance")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Custom(Term):
    """A function of one's own; see `custom`."""

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name in TAKEN:
            raise ArgumentError("name", f"{self.name!r} is a metric of every run; choose another")

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        x = batch.vectors if batch.vectors.ndim == 3 else batch.vectors[:, None]
        mask = pairs.present(batch.labels, batch.mask)
        value = jnp.asarray(self.function(x, batch.labels, mask), jnp.float32)
        if value.shape:
            raise ArgumentError(
                self.name, f"the function must give one number, not shape {list(value.shape)}"
            )
        return value


def custom(function: Callable[..., Any], name: str = "custom") -> Custom:
    """`function(vectors [b, m, d] of unit length, labels [b], mask [b])` -> scalar, as a term.

    The function sees the whole global batch on every device and must be traceable by JAX; rows
    where `mask` is False are padding, which it must leave out. `name` is the name of its value in
    metrics.csv.
    """
    return Custom(name=name, function=function)
