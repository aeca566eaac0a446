"""GeM's exponent p learned alone, for another test resolution, by a run's own classifier."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from abe_jax import models
from abe_jax.config import Config, NormSoftmax
from abe_jax.data import loader, uncropped
from abe_jax.data.dataset import Split
from abe_jax.data.images import preprocessing
from abe_jax.data.split import chosen
from abe_jax.errors import Diverged, UserError
from abe_jax.evaluation.embed import require_any_shape
from abe_jax.evaluation.resolution import exponent
from abe_jax.losses.objective import Objective, classifier
from abe_jax.training.step import TrainState

RATE, MOMENTUM, POWER = 0.005, 0.9, 0.9
BATCH, PER_CLASS = 4, 50
LINES = 10  # said of the course of p

Loss = Callable[[Array, TrainState, loader.Batch], Float[Array, ""]]


def learned(
    state: TrainState, train: Split, config: Config, steps: int, say: Callable[[str], None]
) -> float:
    """The exponent p after SGD on p alone, all else frozen, batch normalisation in inference mode.

    Cross-entropy of the run's classifier on training images as an evaluation sees them, cropped or
    whole, whatever crops and flips the run was trained with: rate 0.005 (1 - i/n)^0.9, momentum
    0.9, batches of 4, up to 50 images of each class, drawn and ordered by the seed. A p below 1 is
    set to 1, the least that this project's configurations take.

    Args:
        state: of the run, unreplicated.
        train: the training split.
        config: of the run, at the size of the test.
        steps: n; 0: as many as one pass takes.
        say: is told how p moves.

    Raises:
        UserError: no GeM, p = inf, no classifier, or p is not finite any more.
    Source: Berman et al., MultiGrain, arXiv 1902.05509, p* by fine-tuning.
    """
    start = exponent(config, state)
    if not np.isfinite(start):
        raise UserError("--learn: the run's p is inf, from where no gradient leads; use --p")
    loss = classification(config)
    frozen = jax.device_put(state.replace(opt_state=()))
    steps, made = batches(train, config, steps)
    rate = optax.polynomial_schedule(RATE, 0.0, POWER, steps)
    sgd = optax.sgd(rate, momentum=MOMENTUM)

    @jax.jit
    def one(p: Array, momentum: Any, frozen: TrainState, batch: loader.Batch) -> tuple[Array, Any]:
        updates, momentum = sgd.update(jax.grad(loss)(p, frozen, batch), momentum, p)
        moved: Any = optax.apply_updates(p, updates)
        return jnp.maximum(moved, 1.0), momentum

    p: Any = jnp.float32(start)
    momentum = sgd.init(p)
    for at, batch in enumerate(made, start=1):
        p, momentum = one(p, momentum, frozen, batch)
        if at == steps or at % max(1, steps // LINES) == 0:
            say(f"step {at:,} of {steps:,}: p = {float(p):.4f}")
    if not np.isfinite(p):
        raise Diverged("--learn: p is not finite any more; use --p")
    return float(p)


def classification(config: Config) -> Loss:
    """The loss of a run's classifier as a function of GeM's p, the run's state and a batch.

    Of several such terms the first that has a weight, without it and over all classes.

    Raises:
        UserError: the objective has no classifier.
    """
    found = classifier(config.objective)
    if found is None:
        raise UserError(
            "--learn: p is learned by a classifier, and the run's objective has neither "
            "'cross_entropy' nor 'norm_softmax' with a weight; use --p"
        )
    term, key = found
    if isinstance(term, NormSoftmax):
        term = dataclasses.replace(term, subsample=0)
    model = models.build(dataclasses.replace(config.model, gem_p=3.0, gem_learned=True))
    objective = Objective((dataclasses.replace(term, weight=1.0),), config.data.classes)

    def loss(p: Array, state: TrainState, batch: loader.Batch) -> Float[Array, ""]:
        variables = {
            "params": models.with_exponent(state.params["model"], p),
            "batch_stats": state.batch_stats,
        }
        pixels = preprocessing.normalise(jnp.asarray(batch.images), config.data, jnp.float32)
        embeddings = model.apply(variables, pixels, train=False)
        own = {"params": {term.name: state.params["objective"][key]}}
        total, _ = objective.apply(own, embeddings, batch.labels, batch.instances, batch.mask)
        return total

    return loss


def batches(train: Split, config: Config, steps: int) -> tuple[int, Iterator[loader.Batch]]:
    """So many batches of the images of `order`, and how many these are; 0: one pass.

    Whole images are put together by their shapes, so some batches of a shape's last images are
    smaller; the batches then come in an order of the seed.
    """
    rows = order(train.labels, config.seed, steps)
    drawn, evaluate = chosen(train, rows), config.evaluate
    if not evaluate.longest:
        return steps or -(-len(rows) // BATCH), loader.in_order(drawn, config.data, BATCH)
    require_any_shape(config)
    different, place = np.unique(rows, return_inverse=True)
    sizes = uncropped.sizes(train, different, config.data)[place]
    planned = uncropped.plan(uncropped.shapes(sizes, evaluate.longest, evaluate.side_step), BATCH, 1)
    mixed = np.random.default_rng(config.seed).permutation(len(planned))
    taken = [planned[at] for at in mixed[: steps or None]]
    return len(taken), uncropped.batches(drawn, config.data, taken, loader.Shard())


def order(labels: Int[np.ndarray, " n"], seed: int, steps: int) -> Int[np.ndarray, " k"]:
    """The images of `steps` batches: passes over up to PER_CLASS of each class; 0: one pass."""
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    place = np.arange(len(labels)) - np.repeat(starts, counts)
    drawn = by_class[place < PER_CLASS]
    passes = max(1, -(-steps * BATCH // len(drawn)))
    rows = np.concatenate([rng.permutation(drawn) for _ in range(passes)])
    return rows[: steps * BATCH] if steps else rows
