"""Batch-instance normalisation: a gate for each channel between batch and instance statistics.

Source: Choi et al., Meta Batch-Instance Normalization for Generalizable Person Re-Identification,
CVPR 2021, section 3 (arXiv 2011.14670).
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from abe_jax.models.backbones.layers import BatchNorm

GATE = "gate"
STARTS = {  # what stands beside the parameters of batch normalisation
    GATE: nn.initializers.ones,
    "instance_scale": nn.initializers.ones,
    "instance_bias": nn.initializers.zeros,
}

Gates = dict[str, Array]  # by the path of the parameter


def standardised(x: Float[Array, "b h w c"], epsilon: float) -> Float[Array, "b h w c"]:
    """(x - mean) / sqrt(variance + epsilon), both of one image and channel over space."""
    x = x - jnp.mean(x, axis=(1, 2), keepdims=True)
    return x * lax.rsqrt(jnp.mean(x * x, axis=(1, 2), keepdims=True) + epsilon)


class BatchInstanceNorm(nn.Module):
    """y = rho (gB xB + bB) + (1 - rho) (gI xI + bI), rho in [0, 1] for each channel.

    xB is batch-normalised as `BatchNorm` does it, running statistics and all; xI is normalised by
    the statistics of its own image and has no running ones. The parameters of the batch half have
    the names that plain batch normalisation has; beside them stand `gate` (rho), which starts at 1,
    where y is plain batch normalisation, `instance_scale` (gI) and `instance_bias` (bI).
    Computed in float32.
    """

    epsilon: float
    frozen: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        norm = BatchNorm(
            epsilon=self.epsilon, frozen=self.frozen, axis_name=self.axis_name, name="batch"
        )
        nn.share_scope(self, norm)
        wide = x.astype(jnp.float32)
        of_batch = norm(wide, train)
        gate, scale, bias = (
            self.param(name, start, (x.shape[-1],), jnp.float32)[None, None, None]
            for name, start in STARTS.items()
        )
        of_instance = scale * standardised(wide, self.epsilon) + bias
        return (gate * of_batch + (1.0 - gate) * of_instance).astype(self.dtype)


def gates(params: Any) -> Gates:
    """All gates of a network's parameters; empty where it has none."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves if path[-1].key == GATE}


def with_gates(params: Any, own: Gates) -> Any:
    """`params` with the gates that `own` has in the place of theirs."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: own.get(jax.tree_util.keystr(path), leaf), params
    )


def clamped(gate: Array) -> Array:
    """Into [0, 1]; NaN stays NaN."""
    return jnp.clip(gate, 0.0, 1.0)


def completed(stage: Any, target: Any) -> Any:
    """A stage trained with plain batch normalisation, in the form of one with batch-instance.

    The gates are 1, so the network is the one that was trained. The instance half starts from a
    copy of the batch half's scale and bias: the layers behind were trained on maps of that scale,
    so that what a gate's gradient tells is whose statistics do better, and not that maps of
    scale 1 do not fit. What has gates of its own, and what `target` has without them, stays.
    """
    if not isinstance(stage, Mapping) or not isinstance(target, Mapping):
        return stage
    made = {name: completed(own, target.get(name)) for name, own in stage.items()}
    if GATE in target and GATE not in stage and "scale" in stage:
        made[GATE] = jnp.ones_like(stage["scale"])
        made |= {f"instance_{name}": stage[name] for name in ("scale", "bias")}
    return made
