"""The state of a training: all that its steps change, and where it begins."""

from typing import TYPE_CHECKING, Any

import flax.struct
import jax
import jax.numpy as jnp

from abe_jax import models, ways
from abe_jax.data import annotations
from abe_jax.losses.objective import Objective

if TYPE_CHECKING:
    import optax


class TrainState(flax.struct.PyTreeNode):
    """All that training changes. `params` has the parts `model` and `objective`."""

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any


def create(
    model: Any,
    objective: Objective,
    tx: "optax.GradientTransformation",
    shape: tuple[int, int, int],
    seed: int,
) -> TrainState:
    """The state before the first step: a function of its arguments alone.

    Computed on the host's processor, so that the same seed starts alike on every kind of device.
    The generator is `rbg`: to compile an initialisation by threefry takes five times as long.

    Args:
        model: the network.
        objective: the losses, whose parameters are part of the state.
        tx: the optimiser.
        shape: height, width and channels of the images.
        seed: of the initial values.
    """
    rows = max(2, objective.domain_blocks)

    def init() -> TrainState:
        model_key, objective_key = jax.random.split(jax.random.key(seed, impl="rbg"))
        images = jnp.zeros((rows, *shape))
        variables = model.init(model_key, images, train=False)
        embeddings = model.apply(variables, images, train=False, **models.blank_points(model, rows))
        ids = jnp.zeros(rows, jnp.int32)
        losses = objective.init(
            objective_key,
            embeddings,
            ids,
            ids,
            jnp.ones(rows, bool),
            jax.random.key(0),
            kernels=models.head_kernels(variables["params"]),
            annotations=_blank(embeddings.predictions),
        )
        params = {"model": variables["params"], "objective": losses.get("params", {})}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=tx.init(params),
        )

    with jax.default_device(jax.local_devices(backend="cpu")[0]), ways.only():
        return jax.jit(init)()


def _blank(predicted: models.Predictions | None) -> annotations.Annotations | None:
    """Annotations of as many images, points and attributes as a network predicts."""
    if predicted is None or predicted.attributes is None:
        return None
    points = 0 if predicted.landmarks is None else predicted.landmarks.shape[1]
    rows, attributes = predicted.attributes.shape
    return annotations.blank(rows, points, attributes)
