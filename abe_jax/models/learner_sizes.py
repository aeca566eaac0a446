"""Learners of sizes of their own, and how much each counts in the ensemble at test."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from abe_jax.errors import ArgumentError
from abe_jax.models.backbones.layers import GLOROT


class LearnerLayers(nn.Module):
    """A fully connected layer for each learner: [b, m, c] -> [b, m, d], d the largest size.

    Behind a smaller learner's numbers stand zeros, which change no length, distance or cosine.
    """

    sizes: tuple[int, ...]
    use_bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b m c"]) -> Float[Array, "b m d"]:
        made = []
        for i, size in enumerate(self.sizes):
            layer = nn.Dense(size, use_bias=self.use_bias, kernel_init=GLOROT, name=f"learner{i}")
            made.append(jnp.pad(layer(x[:, i]), ((0, 0), (0, max(self.sizes) - size))))
        return jnp.stack(made, axis=1)


def scales(weights: Sequence[float]) -> tuple[float, ...]:
    """s_i = w_i sqrt(m / sum_j w_j^2): their squares sum to m, as those of unit lengths do.

    So the squared distance of two ensembles stays in [0, 4 m], and is 2 m (1 - c) with c the mean
    of the learners' cosines weighted by s_i^2 / m.
    """
    total = math.sqrt(math.fsum(weight * weight for weight in weights) / len(weights))
    return tuple(weight / total for weight in weights)


def check(kind: str, head: str, learners: int, dim: int, dims: Sequence[int]) -> None:
    """Refuses sizes that are not the learners', or that their layers cannot have.

    Raises:
        ArgumentError: with the nearest right choice.
    """
    if len(dims) != learners:
        raise ArgumentError(
            "dims",
            f"{len(dims)} sizes for {learners} learners; give one for each, or leave dims empty",
        )
    if min(dims) < 1:
        raise ArgumentError("dims", f"{min(dims)}; a learner has at least 1 dimension")
    if sum(dims) != dim:
        raise ArgumentError(
            "dim", f"{dim}, but the learners' dims {tuple(dims)} sum to {sum(dims)}; set it to that"
        )
    if min(dims) == max(dims):
        return
    if kind in ("attention", "cascade"):
        shared = "share one fully connected layer" if kind == "attention" else "have one size"
        raise ArgumentError(
            "dims",
            f"differ, but learners of kind {kind!r} {shared}; leave dims empty, or set kind to "
            "'divided' or 'heads'",
        )
    if head == "none":
        raise ArgumentError(
            "dims",
            "differ, but with head 'none' every learner has the pooled features' own; set head to "
            "'linear' or 'projection'",
        )


def check_weights(learners: int, weights: Sequence[float]) -> None:
    """Refuses weights at test that are not one positive, finite number for each learner.

    Raises:
        ArgumentError: says which.
    """
    if len(weights) != learners:
        raise ArgumentError(
            "test_weights",
            f"{len(weights)} weights for {learners} learners; give one for each, or none",
        )
    wrong = [weight for weight in weights if not 0.0 < weight < math.inf]
    if wrong:
        raise ArgumentError(
            "test_weights", f"{wrong[0]:g}; each is above 0, so that every learner can be measured"
        )
