"""The gradient of a global batch's loss on every device, of all rows at once or by chunks.

Every replica gathers the embeddings and labels of the whole global batch and computes the whole
loss, so every replica has the same gradient with respect to every row. It backpropagates that of
its own rows alone, n times as large on n devices: `train_step` averages the parameters' gradients,
and the average is then the sum over all rows. The parameters of the loss itself (proxies,
classifiers) are not gathered: each replica has their whole gradient, and so has the average. The
same holds for parameters of the network that a loss reads directly (the kernels of its last
layers), beside what they learn through the embeddings. So 1, 2, 4 and 8 devices agree.

By chunks (Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
arXiv 2101.06983) the memory of the network's maps is that of one chunk: all chunks are embedded
without gradient, the loss of the whole global batch gives the gradient of each embedding, and each
chunk is embedded again and backpropagates the gradient of its own rows. The loss and its gradient
are those of the whole batch, but for batch normalisation: in training its statistics are those of
one chunk, over all devices, in both passes alike. Its running statistics move once a step, to the
mean of the updates that the chunks would make; so the running variance lacks the variance between
the chunks' means. With `freeze_norm`, or without batch normalisation, nothing differs but rounding.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from abe_jax import losses, models
from abe_jax.data.loader import Batch
from abe_jax.losses.objective import Objective
from abe_jax.training.state import TrainState

AXIS = "devices"
_DROPOUT = 2**32 - 1  # folded into a step's key for the network's dropout; losses fold in 0, 1, ...

Metrics = dict[str, Array]  # by name; in a step's result one value per device, all the same
Preprocess = Callable[[UInt8[Array, "b h w c"]], Float[Array, "b h w c"]]
Differentiated = Callable[[Any], Any]  # the network's parameters as the loss of a step sees them


@dataclasses.dataclass(frozen=True)
class Gradient:
    """How a step gets the gradient of its loss; mapped over AXIS.

    model: the network; its batch normalisation takes its statistics over all devices.
    objective: the losses of the global batch.
    preprocess: from the loader's pixels to the network's input.
    chunks: into how many parts each device cuts its rows, which are a multiple of it; 1: not at
        all. Chunks cost a second forward pass.
    """

    model: Any
    objective: Objective
    preprocess: Preprocess
    chunks: int = 1

    def __call__(
        self, state: TrainState, batch: Batch, key: Array, differentiated: Differentiated
    ) -> tuple[Any, tuple[Any, Metrics]]:
        """The gradient of `state.params`, to be averaged over the devices; the new running
        statistics; and the metrics. `batch` has this device's rows, `key` is all devices'."""
        network = _Network(self.model.clone(axis_name=AXIS), self.preprocess, state, key)
        if self.chunks > 1:
            return self._by_chunks(network, batch, differentiated)

        def loss(params: Any) -> tuple[Array, tuple[Any, Metrics]]:
            own = differentiated(params["model"])
            embeddings, batch_stats = network.embedded(own, batch)
            total, metrics = self._loss(embeddings, own, params["objective"], batch, network)
            return total, (batch_stats, metrics)

        return jax.grad(loss, has_aux=True)(state.params)

    def _by_chunks(
        self, network: "_Network", batch: Batch, differentiated: Differentiated
    ) -> tuple[Any, tuple[Any, Metrics]]:
        params = network.state.params
        chunks = (jnp.arange(self.chunks, dtype=jnp.int32), _cut(batch, self.chunks))
        rows = len(batch.labels)
        begin = lax.axis_index(AXIS) * rows  # of this device's rows in the global batch

        def embedded(own: Any, number: Array, chunk: Batch) -> tuple[Any, Any]:
            first = begin + number * (rows // self.chunks)
            return network.embedded(differentiated(own), chunk, first)

        def loss(embeddings: Any, params: Any) -> tuple[Array, Metrics]:
            own = differentiated(params["model"])
            return self._loss(embeddings, own, params["objective"], batch, network)

        def forwards(_: None, one: tuple[Array, Batch]) -> tuple[None, tuple[Any, Any]]:
            return None, embedded(params["model"], *one)

        def backwards(summed: Any, one: tuple[Array, Batch, Any]) -> tuple[Any, None]:
            number, chunk, to_embeddings = one
            _, back = jax.vjp(lambda own: embedded(own, number, chunk)[0], params["model"])
            return jax.tree.map(jnp.add, summed, *back(to_embeddings)), None

        # Loops of the program's and not of Python's: one chunk's maps are in memory at a time.
        _, (embeddings, batch_stats) = lax.scan(forwards, None, chunks)
        embeddings = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), embeddings)
        (to_embeddings, grads), metrics = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            embeddings, params
        )
        # Of the network `grads` has what a loss reads of it directly, beside the embeddings.
        of_model, _ = lax.scan(
            backwards, grads["model"], (*chunks, _cut(to_embeddings, self.chunks))
        )
        return {**grads, "model": of_model}, (jax.tree.map(_mean, batch_stats), metrics)

    def _loss(
        self, embeddings: Any, own: Any, learned: Any, batch: Batch, network: "_Network"
    ) -> tuple[Array, Metrics]:
        """The loss of the global batch, from this device's rows of it."""
        rows = (embeddings, batch.labels, batch.image_ids, batch.mask, batch.annotations)
        embeddings, labels, image_ids, mask, annotations = _of_all_devices(*rows)
        total, terms = self.objective.apply(
            {"params": learned},
            embeddings,
            labels,
            image_ids,
            mask,
            network.key,
            kernels=models.head_kernels(own),
            annotations=annotations,
            step=network.state.step,
        )
        observed = losses.diagnostics(embeddings.vectors, labels, mask)
        return total, {"loss": total, **terms, **observed}


@dataclasses.dataclass(frozen=True)
class _Network:
    """A network that trains, at one step."""

    model: Any
    preprocess: Preprocess
    state: TrainState
    key: Array

    def embedded(self, own: Any, batch: Batch, first: Array | None = None) -> tuple[Any, Any]:
        """The embeddings of this device's rows, or of a chunk of them, and the new running
        statistics. `own`: the network's parameters; `first`: of a chunk, the number of its first
        row in the global batch."""
        place = {} if first is None or not models.draws(self.model) else {"first": first}
        embeddings, updated = self.model.apply(
            {"params": own, "batch_stats": self.state.batch_stats},
            self.preprocess(jnp.asarray(batch.images)),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(self.key, _DROPOUT)},
            **points(self.model, batch),
            **place,
        )
        return embeddings, updated.get("batch_stats", {})


def points(model: Any, batch: Batch) -> dict[str, Any]:
    """The points of a batch's images for a network that asks for them; empty for any other."""
    known = batch.annotations and batch.annotations.points
    return {} if known is None or not models.asks_points(model) else {"points": known}


def _of_all_devices(embeddings: Any, *known: Any) -> tuple[Any, ...]:
    """The rows of all devices; only `embeddings` have a gradient."""
    if lax.axis_size(AXIS) == 1:  # JAX's own: one device's runs of any version agree to the bit
        return lax.all_gather((embeddings, *known), AXIS, tiled=True)
    return jax.tree.map(_gathered, embeddings), *lax.all_gather(known, AXIS, tiled=True)


@jax.custom_vjp
def _gathered(rows: Array) -> Array:
    """The rows of all devices [n b, ...], of this device's [b, ...].

    By itself JAX would send the gradients of all rows to all devices to add up n equal ones.
    """
    return lax.all_gather(rows, AXIS, tiled=True)


def _gathered_forwards(rows: Array) -> tuple[Array, None]:
    return _gathered(rows), None


def _gathered_backwards(_: None, to_all: Array) -> tuple[Array]:
    devices = lax.axis_size(AXIS)
    size = len(to_all) // devices
    own = lax.dynamic_slice_in_dim(to_all, lax.axis_index(AXIS) * size, size)
    return (own * devices,)


_gathered.defvjp(_gathered_forwards, _gathered_backwards)


def _cut(rows: Any, chunks: int) -> Any:
    return jax.tree.map(lambda leaf: leaf.reshape(chunks, -1, *leaf.shape[1:]), rows)


def _mean(of_chunks: Float[Array, "chunks *shape"]) -> Float[Array, "*shape"]:
    """The mean over chunks; of equal values that value itself, to the bit."""
    return of_chunks[0] + jnp.mean(of_chunks - of_chunks[:1], axis=0)
