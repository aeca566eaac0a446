"""What happens to the gates of batch-instance normalisation at each step: MetaBIN's two levels.

Source: Choi et al., Meta Batch-Instance Normalization for Generalizable Person Re-Identification,
CVPR 2021 (arXiv 2011.14670), section 3.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from abe_jax import losses, models
from abe_jax.data.loader import Batch
from abe_jax.losses.batch import read
from abe_jax.models.backbones.batch_instance import Gates
from abe_jax.training.gradient import AXIS, Metrics, Preprocess
from abe_jax.training.meta import Meta
from abe_jax.training.step import AfterUpdate

GATE = "gate"  # their mean
META = ("meta_scatter", "meta_shuffle", "meta_triplet", "meta_test_triplet")


class ClampedGates(AfterUpdate):
    """Gates that the optimiser moved like any parameter are put back into [0, 1]."""

    metrics = (GATE,)

    def __call__(
        self, params: Any, batch_stats: Any, batch: Batch, step: Array
    ) -> tuple[Any, Metrics]:
        """The parameters with their gates in [0, 1], and the gates' mean."""
        gates = jax.tree.map(models.clamped, models.gates(params))
        return models.with_gates(params, gates), _mean(gates)


class MetaBIN(AfterUpdate):
    """Gates that meta-learning alone moves, on every device alike:

        rho' = clip(rho - beta dL/drho), L = scatter + shuffle + triplet on the meta-train rows
        rho <- clip(rho - outer_rate dT/drho'), T the batch-hard triplet on the meta-test rows

    rho' is a constant shift of rho: first order, straight through the clip to [0, 1]. A batch is
    equal blocks of one domain each, in an order that the sampler draws; the blocks of the first
    `meta.domains` are meta-train, the others meta-test. Their rows lie on few devices, so every
    device gathers the images and embeds its own share of each part. Batch normalisation uses the
    statistics of one part's rows over all devices, and running statistics stay as they were. The
    losses compare what `meta.reads` names; the scatter's cosines have no length. Before the step
    `meta.start` only the metrics are taken.
    """

    metrics = (*META, GATE)

    def __init__(self, model: Any, preprocess: Preprocess, meta: Meta, domains_per_batch: int):
        self._model = model.clone(axis_name=AXIS)
        self._preprocess, self.meta, self._blocks = preprocess, meta, domains_per_batch

    def differentiated(self, params: Any) -> Any:
        """The gates held constant: no momentum and no gradient norm counts them."""
        constants = jax.tree.map(lax.stop_gradient, models.gates(params))
        return models.with_gates(params, constants)

    def __call__(
        self, params: Any, batch_stats: Any, batch: Batch, step: Array
    ) -> tuple[Any, Metrics]:
        """The parameters with the gates after the outer step, and the losses of both steps."""
        gates = models.gates(params)
        moved, measured = self._moved(params, batch_stats, batch, step)
        begun = step >= self.meta.start
        gates = {name: jnp.where(begun, moved[name], gate) for name, gate in gates.items()}
        return models.with_gates(params, gates), measured | _mean(gates)

    def _moved(self, params: Any, stats: Any, batch: Batch, step: Array) -> tuple[Gates, Metrics]:
        meta, everything = self.meta, lax.all_gather(batch, AXIS, tiled=True)
        size = meta.rows(len(everything.labels), self._blocks)["meta-train"]
        train, test = (
            jax.tree.map(lambda leaf, rows=rows: leaf[rows], everything)
            for rows in (slice(0, size), slice(size, None))
        )

        def vectors(gates: Gates, part: Any) -> Array:
            variables = {"params": models.with_gates(params, gates), "batch_stats": stats}
            pixels = self._preprocess(_own_share(part.images))
            embeddings, _ = self._model.apply(
                variables, pixels, train=True, mutable=["batch_stats"]
            )
            return lax.all_gather(read(embeddings, meta.reads), AXIS, tiled=True)

        def inner(gates: Gates) -> tuple[Array, Metrics]:
            values = _meta_train(vectors(gates, train), train, meta)
            return sum(values.values(), jnp.float32(0)), values

        def outer(gates: Gates) -> tuple[Array, Metrics]:
            value = _triplet(vectors(gates, test), test, meta)
            return value, {"meta_test_triplet": value}

        gates = models.gates(params)
        virtual, first = _descended(inner, gates, gates, meta.inner_rate_at(step))
        moved, second = _descended(outer, virtual, gates, jnp.float32(meta.outer_rate))
        return moved, first | second


def _mean(gates: Gates) -> Metrics:
    return {GATE: jnp.mean(jnp.concatenate(list(gates.values())))}


def _descended(
    loss: Callable[[Gates], tuple[Array, Metrics]],
    at: Gates,
    moved: Gates,
    rate: Float[Array, ""],
) -> tuple[Gates, Metrics]:
    """`moved` less `rate` times the gradient of `loss` at the gates `at`, in [0, 1]."""
    gradient, values = jax.grad(loss, has_aux=True)(at)
    gradient = lax.pmean(gradient, AXIS)
    return jax.tree.map(lambda x, g: models.clamped(x - rate * g), moved, gradient), values


def _own_share(rows: Array) -> Array:
    """This device's share of rows that every device has."""
    size = len(rows) // lax.axis_size(AXIS)
    return lax.dynamic_slice_in_dim(rows, lax.axis_index(AXIS) * size, size)


def _meta_train(vectors: Array, rows: Any, meta: Meta) -> Metrics:
    domains = losses.blocks(len(rows.labels), meta.domains)
    return {
        "meta_scatter": losses.scatter(vectors, domains, mask=rows.mask),
        "meta_shuffle": losses.shuffle(vectors, rows.labels, domains, mask=rows.mask),
        "meta_triplet": _triplet(vectors, rows, meta),
    }


def _triplet(vectors: Array, rows: Any, meta: Meta) -> Array:
    return losses.triplet(
        vectors,
        rows.labels,
        mining="batch_hard",
        margin=meta.margin,
        reduction="mean",
        mask=rows.mask,
    )
