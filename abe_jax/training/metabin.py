"""What happens to the gates of batch-instance normalisation at each step: MetaBIN's two levels.

Source: Choi et al., Meta Batch-Instance Normalization for Generalizable Person Re-Identification,
CVPR 2021 (arXiv 2011.14670), section 3.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from abe_jax import losses, models
from abe_jax.config import Config, Meta, Scatter, Shuffle
from abe_jax.data.images import preprocessing
from abe_jax.data.loader import Batch
from abe_jax.errors import UserError
from abe_jax.models.backbones.batch_instance import Gates

GATE = "gate"  # their mean
EPISODE = ("meta_scatter", "meta_shuffle", "meta_triplet", "meta_test_triplet")

Metrics = dict[str, Array]
# (the model's parameters after the base update, batch_stats, batch, step) -> parameters, metrics
GateStep = Callable[[Any, Any, Batch, Array], tuple[Any, Metrics]]


def metrics(config: Config) -> tuple[str, ...]:
    """The names of what `gate_step` measures."""
    own = EPISODE if config.meta.domains else ()
    return (*own, GATE) if config.model.norm == "bin" else own


def check(config: Config) -> None:
    """Refuses an episode, or losses over domains, without a batch of domains to be compared.

    Raises:
        UserError: with the nearest right choice.
    """
    domains, meta = config.data.domains_per_batch, config.meta.domains
    over = [term.name for term in config.objective if isinstance(term, Scatter | Shuffle)]
    if (over or meta) and config.data.sampler != "domains":
        what = "config.meta.domains" if meta else f"the term {over[0]!r}"
        raise UserError(
            f"config.data.sampler: {config.data.sampler!r}, but {what} needs batches of several "
            "domains; set it to 'domains'"
        )
    if meta and config.model.norm != "bin":
        raise UserError(
            f"config.meta.domains: {meta}, but config.model.norm {config.model.norm!r} has no "
            "gates to learn; set config.model.norm to 'bin', or config.meta.domains to 0"
        )
    if meta >= domains:
        raise UserError(
            f"config.meta.domains: {meta} of config.data.domains_per_batch={domains} leave none to "
            f"test on; at most {domains - 1}"
        )
    if meta:
        _check_classes(config)


def _check_classes(config: Config) -> None:
    """Refuses episodes whose losses would have nothing to compare, and so gates that never move."""
    data, rows = config.data, config.data.images_per_class * config.data.repeats
    if rows < 2:
        raise UserError(
            "config.data.images_per_class: 1 gives an episode's triplets no positives; at least 2"
        )
    least = 2 * rows * data.domains_per_batch
    if config.train.batch < least:
        raise UserError(
            f"config.train.batch: {config.train.batch} rows hold fewer than two classes of each "
            f"domain, which an episode tells apart; at least {least}"
        )


def start(config: Config) -> int:
    """The step of the first episode: `meta.start`, or where the backbone begins to learn."""
    return max(config.meta.start, config.optimizer.new_only)


def parts(config: Config) -> dict[str, int]:
    """How many rows of a batch are meta-train and meta-test; empty without meta-learning."""
    if not config.meta.domains:
        return {}
    block = config.train.batch // config.data.domains_per_batch
    train = block * config.meta.domains
    return {"meta-train": train, "meta-test": config.train.batch - train}


def check_devices(config: Config, devices: int) -> None:
    """Refuses what `check` does, and parts of a batch that do not divide over the devices.

    Raises:
        UserError: names batches that do, and that the sampler can make.
    """
    check(config)
    for part, rows in parts(config).items():
        if rows % devices:
            of_class = config.data.images_per_class * config.data.repeats
            fits = config.data.domains_per_batch * math.lcm(devices, of_class)
            raise UserError(
                f"config.train.batch: {rows} {part} rows of {config.train.batch} do not divide "
                f"over {devices} devices; a multiple of {fits} does"
            )


def domains(config: Config, rows: int) -> Array | None:
    """The domains of a global batch's rows, where its sampler lays them in blocks."""
    if config.data.sampler != "domains":
        return None
    return losses.blocks(rows, config.data.domains_per_batch)


def inner_rate(meta: Meta, step: Int[Array, ""]) -> Float[Array, ""]:
    """The rate of the inner step: `inner_rate` times a triangle over the steps of a cycle.

    The factor is `cycle_least` at the cycle's beginning and end and `cycle_most` in its middle.
    """
    if not meta.cycle:
        return jnp.float32(meta.inner_rate)
    place = (step % meta.cycle).astype(jnp.float32) / meta.cycle
    height = 1.0 - jnp.abs(2.0 * place - 1.0)
    return meta.inner_rate * (meta.cycle_least + (meta.cycle_most - meta.cycle_least) * height)


def base_params(config: Config, params: Any) -> Any:
    """The model's parameters as the base step differentiates them: the gates held, where an
    episode learns them."""
    if not config.meta.domains:
        return params
    return models.with_gates(params, jax.tree.map(lax.stop_gradient, models.gates(params)))


def gate_step(config: Config, model: models.Ensemble, axis: str) -> GateStep:
    """What follows the base update, on every device alike, inside a function mapped over `axis`.

    Without meta-learning the gates, which the base update moved like any parameter, are put back
    into [0, 1]. With it the base update has left them where they were, and the episode moves them:

        rho' = clip(rho - beta dL/drho), L = scatter + shuffle + triplet on the meta-train rows
        rho <- clip(rho - outer_rate dT/drho'), T the batch-hard triplet on the meta-test rows

    rho' is a constant shift of rho: first order, straight through the clip to [0, 1]. The blocks of
    the first `meta.domains` domains are meta-train, the others meta-test; the sampler draws the
    domains' order. Batch normalisation uses the statistics of one part's rows over all devices, and
    running statistics stay as they were. Before the step `start` only the metrics are taken.

    Raises:
        UserError: see `check`.
    """
    check(config)
    episode = _episode(config, model, axis)

    def after_update(params: Any, stats: Any, batch: Batch, step: Array) -> tuple[Any, Metrics]:
        gates, found = models.gates(params), {}
        if not gates:
            return params, found
        if config.meta.domains:
            moved, found = episode(params, stats, batch, step)
            begun = step >= start(config)
            gates = {at: jnp.where(begun, moved[at], gate) for at, gate in gates.items()}
        else:
            gates = jax.tree.map(models.clamped, gates)
        values = jnp.concatenate(list(gates.values()))
        return models.with_gates(params, gates), found | {GATE: jnp.mean(values)}

    return after_update


def _episode(config: Config, model: models.Ensemble, axis: str) -> Callable[..., tuple]:
    """(params, batch_stats, batch, step) -> the gates after the outer step, the metrics."""
    meta = config.meta

    def run(params: Any, stats: Any, batch: Batch, step: Array) -> tuple[Gates, Metrics]:
        everything = lax.all_gather(batch, axis, tiled=True)
        sizes = parts(config)
        train, test = (
            jax.tree.map(lambda leaf, s=slice_: leaf[s], everything)
            for slice_ in (slice(0, sizes["meta-train"]), slice(sizes["meta-train"], None))
        )

        def vectors(gates: Gates, part: Any) -> Array:
            variables = {"params": models.with_gates(params, gates), "batch_stats": stats}
            pixels = preprocessing.normalise(_own(part.images, axis), config.data, jnp.float32)
            embeddings, _ = model.apply(variables, pixels, train=True, mutable=["batch_stats"])
            return lax.all_gather(embeddings.vectors, axis, tiled=True)

        def inner(gates: Gates) -> tuple[Array, Metrics]:
            values = _meta_train(vectors(gates, train), train, meta)
            return sum(values.values(), jnp.float32(0)), values

        def outer(gates: Gates) -> tuple[Array, Metrics]:
            value = _triplet(vectors(gates, test), test, meta)
            return value, {"meta_test_triplet": value}

        gates = models.gates(params)
        virtual, first = _descended(inner, gates, gates, inner_rate(meta, step), axis)
        moved, second = _descended(outer, virtual, gates, jnp.float32(meta.outer_rate), axis)
        return moved, first | second

    return run


def _descended(
    loss: Callable[[Gates], tuple[Array, Metrics]],
    at: Gates,
    moved: Gates,
    rate: Float[Array, ""],
    axis: str,
) -> tuple[Gates, Metrics]:
    """`moved` less `rate` times the gradient of `loss` at the gates `at`, in [0, 1]."""
    gradient, values = jax.grad(loss, has_aux=True)(at)
    gradient = lax.pmean(gradient, axis)
    return jax.tree.map(lambda x, g: models.clamped(x - rate * g), moved, gradient), values


def _own(rows: Array, axis: str) -> Array:
    """This device's share of rows that every device has."""
    size = len(rows) // lax.axis_size(axis)
    return lax.dynamic_slice_in_dim(rows, lax.axis_index(axis) * size, size)


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
