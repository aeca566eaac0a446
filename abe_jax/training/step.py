"""The training step and the embedding step on all devices; the only file that knows pmap.

Every replica gathers the embeddings and labels of the whole global batch and computes the whole
loss; the gradients are then averaged over the devices. That is the gradient of the global loss:
the transpose of the gather sums what every replica's copy of the loss says of a row, which is the
number of devices times too much, and the average takes it back. 1, 2, 4 and 8 devices agree.
"""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import jax_utils
from jax import lax
from jaxtyping import Array, Float, Shaped

from abe_jax import losses, models
from abe_jax.config import Config
from abe_jax.data.images import preprocessing
from abe_jax.data.loader import Batch
from abe_jax.errors import UserError
from abe_jax.losses.objective import Objective, rates
from abe_jax.training import metabin, optimizer

AXIS = "devices"


class TrainState(flax.struct.PyTreeNode):
    """All that training changes. `params` has the parts `model` and `objective`."""

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any


Metrics = dict[str, Array]  # by name, one value per device, all the same


def transformation(config: Config) -> optax.GradientTransformation:
    """The configured optimiser over the state's parameters, each at its own rate.

    Layers that no backbone brings have `optimizer.new_rate`, a term's parameters the term's `rate`;
    both are what the first `optimizer.new_only` steps move.
    """
    terms = rates(config.objective)

    def rate(path: tuple[str, ...]) -> float:
        if path[0] == "objective":
            return terms[path[1]]
        return config.optimizer.new_rate if models.new_parameters(path[1:]) else 1.0

    def new(path: tuple[str, ...]) -> bool:
        return path[0] == "objective" or models.new_parameters(path[1:])

    return optimizer.build(config.optimizer, config.train.steps, rate, new)


def objective_of(config: Config) -> Objective:
    """The weighted sum of losses that the config names."""
    return Objective(config.objective, config.data.classes)


def create(config: Config) -> TrainState:
    """The state before the first step: a function of the config's seed alone.

    Computed on the host's processor, so that the same seed starts alike on every kind of device.
    The generator is `rbg`: to compile an initialisation by threefry takes five times as long.
    """
    model = models.build(config.model)
    shape = (2, config.data.size, config.data.size, config.data.channels)

    def init() -> TrainState:
        model_key, objective_key = jax.random.split(jax.random.key(config.seed, impl="rbg"))
        variables = model.init(model_key, jnp.zeros(shape), train=False)
        embeddings = model.apply(variables, jnp.zeros(shape), train=False)
        rows = jnp.zeros(2, jnp.int32)
        objective = objective_of(config).init(
            objective_key, embeddings, rows, rows, jnp.ones(2, bool), jax.random.key(0), rows
        )
        params = {"model": variables["params"], "objective": objective.get("params", {})}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=transformation(config).init(params),
        )

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return jax.jit(init)()


def abstract(config: Config) -> TrainState:
    """The shapes and types of the state, without computing it."""
    return jax.eval_shape(lambda: create(config))


def train_step(config: Config) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """One step on a replicated state and a sharded batch; the state passed in is used up."""
    model = models.build(config.model, axis_name=AXIS)
    loss, tx = _loss(config, model), transformation(config)
    gate_step = metabin.gate_step(config, model, AXIS)

    def one(state: TrainState, batch: Batch, seed: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)  # alike on all devices
        grads, (batch_stats, metrics) = jax.grad(loss, has_aux=True)(
            state.params, state.batch_stats, batch, key
        )
        grads = lax.pmean(grads, AXIS)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        gated, of_gates = gate_step(params["model"], batch_stats, batch, state.step)
        stepped = state.replace(
            step=state.step + 1,
            params={**params, "model": gated},
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return stepped, {**metrics, "gradient_norm": optax.tree.norm(grads), **of_gates}

    stepped = jax.pmap(one, axis_name=AXIS, donate_argnums=(0,))
    # An argument and no constant, so that runs of several seeds share one compiled program.
    seeds = np.full(jax.local_device_count(), config.seed, np.uint32)

    def on_global_batch(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return stepped(state, shard(batch), seeds)

    return on_global_batch


def _loss(config: Config, model: models.Ensemble) -> Callable[..., tuple[Array, Any]]:
    """The loss of the global batch, with the new running statistics and the metrics."""
    objective = objective_of(config)

    def loss(params: Any, batch_stats: Any, batch: Batch, key: Array) -> tuple[Array, Any]:
        own = metabin.base_params(config, params["model"])
        pixels = preprocessing.normalise(jnp.asarray(batch.images), config.data, jnp.float32)
        embeddings, updated = model.apply(
            {"params": own, "batch_stats": batch_stats}, pixels, train=True, mutable=["batch_stats"]
        )
        everywhere = (embeddings, batch.labels, batch.instances, batch.mask)
        gathered, labels, instances, mask = lax.all_gather(everywhere, AXIS, tiled=True)
        rows = (gathered, labels, instances, mask, key, metabin.domains(config, len(labels)))
        total, terms = objective.apply({"params": params["objective"]}, *rows)
        observed = losses.diagnostics(gathered.vectors, labels, mask)
        return total, (updated.get("batch_stats", {}), {"loss": total, **terms, **observed})

    return loss


def embed_step(config: Config) -> Callable[[TrainState, Batch], Float[np.ndarray, "b m d"]]:
    """The vectors of this host's rows of a batch, from a replicated state."""
    return apply_step(config, lambda model, variables, pixels: _vectors(model, variables, pixels))


def mask_step(config: Config) -> Callable[[TrainState, Batch], Float[np.ndarray, "b m h w c"]]:
    """The attention masks over this host's rows of a batch, from a replicated state."""
    return apply_step(
        config, lambda model, variables, pixels: model.apply(variables, pixels, method="masks")
    )


def _vectors(model: Any, variables: Any, pixels: Array) -> Array:
    return model.apply(variables, pixels, train=False).vectors


def apply_step(
    config: Config, apply: Callable[[Any, Any, Array], Array]
) -> Callable[[TrainState, Batch], Shaped[np.ndarray, "b ..."]]:
    """What `apply(model, variables, pixels)` gives of this host's rows of a batch."""
    model = models.build(config.model)

    def one(params: Any, batch_stats: Any, pixels: Array) -> Array:
        variables = {"params": params["model"], "batch_stats": batch_stats}
        return apply(model, variables, preprocessing.normalise(pixels, config.data, jnp.float32))

    mapped = jax.pmap(one, axis_name=AXIS)

    def on_batch(state: TrainState, batch: Batch) -> np.ndarray:
        return _local(mapped(state.params, state.batch_stats, shard(batch).images))

    return on_batch


def check_devices(config: Config) -> None:
    """Refuses a batch, or parts of it for an episode, that do not divide over the devices.

    Raises:
        UserError: names the nearest batch that does.
    """
    devices = jax.device_count()
    metabin.check_devices(config, devices)
    for name, batch in (
        ("train.batch", config.train.batch),
        ("evaluate.batch", config.evaluate.batch),
    ):
        if batch < 1 or batch % devices:
            fits = max(1, round(batch / devices)) * devices
            raise UserError(
                f"config.{name}: {batch} images do not divide over {devices} devices; "
                f"the nearest is {fits}"
            )


def shard(batch: Batch) -> Batch:
    """This host's rows with a leading axis of its devices."""
    devices = jax.local_device_count()
    return Batch(*(leaf.reshape(devices, -1, *leaf.shape[1:]) for leaf in batch))


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
