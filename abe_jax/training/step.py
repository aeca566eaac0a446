"""The training step and the embedding step on all devices; the only file that calls pmap.

Every replica computes the loss of the whole global batch (`gradient.py`); the gradients are then
averaged over the devices. 1, 2, 4 and 8 devices agree.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import jax_utils
from jax import lax
from jaxtyping import Array, Float, Shaped

from abe_jax.data.loader import Batch
from abe_jax.training import norms
from abe_jax.training.gradient import AXIS, Gradient, Metrics, Preprocess, points
from abe_jax.training.state import TrainState

if TYPE_CHECKING:
    import optax


class AfterUpdate:
    """What changes the model's parameters beside the optimiser: nothing, unless a method does.

    `metrics` names what `__call__` measures.
    """

    metrics: tuple[str, ...] = ()

    def differentiated(self, params: Any) -> Any:
        """The model's parameters as the loss of a step sees them: some may be held constant."""
        return params

    def __call__(
        self, params: Any, batch_stats: Any, batch: Batch, step: Array
    ) -> tuple[Any, Metrics]:
        """The model's parameters after the update of `step`, and metrics; mapped over AXIS."""
        return params, {}


def train_step(
    gradient: Gradient,
    tx: "optax.GradientTransformation",
    seed: int = 0,
    after_update: AfterUpdate = AfterUpdate(),  # noqa: B008 (without state)
) -> "TrainStep":
    """One step on a replicated state, whose buffers are donated, and a sharded batch.

    Args:
        gradient: of the losses of the global batch.
        tx: the optimiser.
        seed: of losses that draw at random, and of dropout.
        after_update: what follows the optimiser's update.
    """
    import optax  # takes a quarter of a second to import

    def one(state: TrainState, batch: Batch, seed: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)  # alike on all devices
        differentiated = after_update.differentiated
        grads, (batch_stats, metrics) = gradient(state, batch, key, differentiated)
        grads = lax.pmean(grads, AXIS)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        updated, measured = after_update(params["model"], batch_stats, batch, state.step)
        stepped = state.replace(
            step=state.step + 1,
            params={**params, "model": updated},
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return stepped, {**metrics, "gradient_norm": norms.norm(grads), **measured}

    return TrainStep(jax.pmap(one, axis_name=AXIS, donate_argnums=(0,)), seed)


class TrainStep:
    """What `train_step` gives: called with a state and a batch it takes the step."""

    def __init__(self, mapped: Any, seed: int):
        self._mapped = mapped
        # An argument and no constant, so that runs of several seeds share one compiled program.
        self._seeds = np.full(jax.local_device_count(), seed, np.uint32)

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return self._mapped(state, shard(batch), self._seeds)

    def compiled(self, state: TrainState, batch: Batch) -> jax.stages.Compiled:
        """The program that a call runs, which is not run; `state` is shapes, unreplicated."""
        if jax.process_count() > 1:  # pmap's `lower` then wants arrays
            given = replicate(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state))
        else:
            n = (jax.local_device_count(),)
            given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(n + x.shape, x.dtype), state)
        return self._mapped.lower(given, shard(batch), self._seeds).compile()


def embed_step(
    model: Any, preprocess: Preprocess
) -> Callable[[TrainState, Batch], Float[np.ndarray, "b m d"]]:
    """The vectors of this host's rows of a batch as they are compared, from a replicated state."""
    return apply_step(
        model,
        preprocess,
        lambda model, variables, pixels: model.compared(
            model.apply(variables, pixels, train=False)
        ),
    )


def mask_step(
    model: Any, preprocess: Preprocess
) -> Callable[[TrainState, Batch], Float[np.ndarray, "b m h w c"]]:
    """The attention masks over this host's rows of a batch, from a replicated state."""
    return apply_step(
        model,
        preprocess,
        lambda model, variables, pixels: model.apply(variables, pixels, method="masks"),
    )


def apply_step(
    model: Any, preprocess: Preprocess, apply: Callable[[Any, Any, Array], Array]
) -> Callable[[TrainState, Batch], Shaped[np.ndarray, "b ..."]]:
    """What `apply(model, variables, pixels)` gives of this host's rows of a batch."""

    def one(params: Any, batch_stats: Any, pixels: Array, points: dict[str, Array]) -> Array:
        variables = {"params": params["model"], "batch_stats": batch_stats}
        placed = _AtPoints(model, points) if points else model
        return apply(placed, variables, preprocess(pixels))

    mapped = jax.pmap(one, axis_name=AXIS)

    def on_batch(state: TrainState, batch: Batch) -> np.ndarray:
        own = shard(batch)
        given = points(model, own)
        return _local(mapped(state.params, state.batch_stats, own.images, given))

    return on_batch


class _AtPoints:
    """A network that is given the points of its images wherever it is applied."""

    def __init__(self, model: Any, points: dict[str, Array]):
        self._model, self._points = model, points

    def apply(self, *args: Any, **options: Any) -> Any:
        return self._model.apply(*args, **self._points, **options)

    def compared(self, embeddings: Any) -> Array:
        return self._model.compared(embeddings)


def shard(batch: Batch) -> Batch:
    """This host's rows with a leading axis of its devices."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda leaf: leaf.reshape(devices, -1, *leaf.shape[1:]), batch)


def replicate(state: TrainState) -> TrainState:
    """A copy of the state on each device of every host; all hosts call it with the same state."""
    own = jax.tree.map(np.asarray, state)  # an array on a device cannot go to another host's
    return jax_utils.replicate(own, axis_name=AXIS)  # another name would compile twice


def unreplicate(state: TrainState) -> TrainState:
    """The state of one device, as NumPy arrays of their own.

    A copy: on CPU the array would otherwise share the buffer that the next step overwrites.
    """
    return jax.tree.map(_first, state)


def fetch(metrics: Metrics) -> dict[str, float]:
    """The metrics of a step as floats; waits until the step has run."""
    return {name: float(_first(value)) for name, value in metrics.items()}


def _first(leaf: Array) -> np.ndarray:
    return np.array(leaf.addressable_data(0)[0])


def _local(leaf: Array) -> np.ndarray:
    """The rows [b, ...] on this host's devices, of an array [devices, b / devices, ...]."""
    shards = sorted(leaf.addressable_shards, key=lambda one: one.index[0].start or 0)
    return np.concatenate([np.asarray(row) for one in shards for row in np.asarray(one.data)])
