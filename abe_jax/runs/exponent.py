"""GeM's exponent p learned alone, for another test resolution, by a run's own classifier."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from abe_jax import losses, models
from abe_jax.data import Split, loader, uncropped
from abe_jax.data.split import chosen
from abe_jax.errors import Diverged, UserError
from abe_jax.evaluation.network import Network
from abe_jax.losses import NormSoftmax, Objective
from abe_jax.training.state import TrainState

RATE, MOMENTUM, POWER = 0.005, 0.9, 0.9
BATCH, PER_CLASS = 4, 50
LINES = 10  # progress lines printed

Loss = Callable[[Array, TrainState, loader.Batch], Float[Array, ""]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExponentLearning:
    """What p is learned with: a run's network at the size of the test, and its classifier."""

    network: Network
    objective: Objective
    seed: int = 0

    def exponent(
        self,
        state: TrainState,
        train: Split,
        start: float,
        steps: int,
        say: Callable[[str], None],
    ) -> float:
        """p after SGD on p alone, all else frozen, batch normalisation in inference mode.

        Cross-entropy of the run's classifier on training images as an evaluation sees them, cropped
        or not, whatever crops and flips the run was trained with: rate 0.005 (1 - i/n)^0.9,
        momentum 0.9, batches of 4, up to 50 images of each class, drawn and ordered by the seed. A
        p below 1 is set to 1, the least that this project's networks take.

        Args:
            state: of the run, unreplicated.
            train: the training split.
            start: the p that the run has.
            steps: n; 0: as many as one pass takes.
            say: is told how p moves.

        Raises:
            UserError: p = inf, no classifier, or p is not finite any more.
        Source: Berman et al., MultiGrain, arXiv 1902.05509, p* by fine-tuning.
        """
        if not np.isfinite(start):
            raise UserError(
                "start: the run's p is inf, where the gradient is zero; try given exponents (--p)"
            )
        loss = self.loss()
        frozen = jax.device_put(state.replace(opt_state=()))
        steps, batches = self.batches(train, steps)
        rate = optax.polynomial_schedule(RATE, 0.0, POWER, steps)
        sgd = optax.sgd(rate, momentum=MOMENTUM)

        @jax.jit
        def one(p: Array, momentum: Any, frozen: TrainState, batch: loader.Batch) -> tuple:
            updates, momentum = sgd.update(jax.grad(loss)(p, frozen, batch), momentum, p)
            moved: Any = optax.apply_updates(p, updates)
            return jnp.maximum(moved, 1.0), momentum

        p: Any = jnp.float32(start)
        momentum = sgd.init(p)
        for at, batch in enumerate(batches, start=1):
            p, momentum = one(p, momentum, frozen, batch)
            if at == steps or at % max(1, steps // LINES) == 0:
                say(f"step {at:,} of {steps:,}: p = {float(p):.4f}")
        if not np.isfinite(p):
            raise Diverged("p is not finite any more; try given exponents (--p)")
        return float(p)

    def loss(self) -> Loss:
        """The loss of the run's classifier as a function of GeM's p, the run's state and a batch.

        Of several such terms the first that has a weight, without it and over all classes.

        Raises:
            UserError: the objective has no classifier.
        """
        named = losses.classifier(losses.terms(self.objective.terms))
        if named is None:
            raise UserError(
                "p is learned by a classifier, and the run's objective has neither "
                "'cross_entropy' nor 'norm_softmax' with a weight; try given exponents (--p)"
            )
        term, key = named
        if isinstance(term, NormSoftmax):
            term = dataclasses.replace(term, subsample=0)
        model = self.network.model.clone(gem_p=3.0, gem_learned=True)
        objective = Objective((dataclasses.replace(term, weight=1.0),), self.objective.classes)

        def loss(p: Array, state: TrainState, batch: loader.Batch) -> Float[Array, ""]:
            variables = {
                "params": models.with_exponent(state.params["model"], p),
                "batch_stats": state.batch_stats,
            }
            pixels = self.network.preprocessing.normalise(jnp.asarray(batch.images))
            embeddings = model.apply(variables, pixels, train=False)
            own = {"params": {term.name: state.params["objective"][key]}}
            total, _ = objective.apply(own, embeddings, batch.labels, batch.image_ids, batch.mask)
            return total

        return loss

    def batches(self, train: Split, steps: int) -> tuple[int, Iterator[loader.Batch]]:
        """So many batches of the images of `order`, and how many these are; 0: one pass.

        Uncropped images are put together by their shapes, so some batches of a shape's last images
        are smaller; the batches then come in an order drawn from the seed.
        """
        rows = order(train.labels, self.seed, steps)
        images, network = chosen(train, rows), self.network
        preprocessing, threads = network.preprocessing, network.threads
        if not network.longest:
            count = steps or -(-len(rows) // BATCH)
            return count, loader.in_order(images, preprocessing, BATCH, threads)
        different, place = np.unique(rows, return_inverse=True)
        sizes = uncropped.sizes(train, different, threads)[place]
        shapes = uncropped.shapes(sizes, network.longest, network.side_step)
        planned = uncropped.plan(shapes, BATCH, 1)
        mixed = np.random.default_rng(self.seed).permutation(len(planned))
        taken = [planned[at] for at in mixed[: steps or None]]
        return len(taken), uncropped.batches(images, preprocessing, taken, threads)


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
