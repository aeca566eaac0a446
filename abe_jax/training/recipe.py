"""A recipe: everything that decides what a training computes, the images apart."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from abe_jax import models
from abe_jax.data import loader
from abe_jax.data.images.augmentation import Augmentation
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.sampling import Sampling
from abe_jax.data.split import Split
from abe_jax.losses import OF_PREDICTIONS
from abe_jax.losses import objective as objectives
from abe_jax.losses.objective import Objective
from abe_jax.training import state as states
from abe_jax.training.fixed_parts import with_fixed_parts
from abe_jax.training.gradient import Gradient
from abe_jax.training.length import Train
from abe_jax.training.meta import Meta
from abe_jax.training.metabin import ClampedGates, MetaBIN
from abe_jax.training.optimizer import Optimizer
from abe_jax.training.state import TrainState
from abe_jax.training.step import AfterUpdate, TrainStep, train_step

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The parts of a training. The same recipe on the same images gives the same bits.

    `model` is one of `abe_jax.models`' networks; `objective` the losses and their parameters;
    `seed` that of initial values, batches, augmentation and losses that draw.
    """

    model: Any
    objective: Objective
    optimizer: Optimizer
    preprocessing: Preprocessing
    augmentation: Augmentation
    sampling: Sampling
    train: Train
    meta: Meta = dataclasses.field(default_factory=Meta)
    seed: int = 0
    threads: int = 2  # that decode images

    def create(self) -> TrainState:
        """The state before the first step."""
        shape = (*self.preprocessing.shape, self.preprocessing.channels)
        return states.create(self.model, self.objective, self.transformation, shape, self.seed)

    def abstract(self) -> TrainState:
        """The shapes and types of the state, without computing it."""
        return jax.eval_shape(self.create)

    def train_step(self) -> TrainStep:
        """The compiled training step, see `step.train_step`."""
        gradient = Gradient(self.model, self.objective, self.preprocess, self.train.chunks)
        return train_step(gradient, self.transformation, self.seed, self.after_update)

    def preprocess(self, images: UInt8[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """From the loader's pixels to the network's input."""
        return self.preprocessing.normalise(images)

    def sampler(self, split: Split) -> Callable[[int], Int[np.ndarray, " b"]]:
        """The rows of a split that make the batch of each step.

        Raises:
            ArgumentError: a batch, classes or domains that cannot hold the sampler's structure.
        """
        return self.sampling.batches(split.labels, self.train.batch, self.seed, groups=split.groups)

    def batches(self, split: Split, start: int = 0) -> Iterator[loader.Batch]:
        """This host's rows of the batches of the steps from `start` on; errors of `sampler`."""
        if not self.annotated:
            split = dataclasses.replace(split, annotations=None)
        schedule = loader.Schedule(
            seed=self.seed,
            start=start,
            steps=self.train.steps,
            threads=self.threads,
            shard=loader.Shard(jax.process_index(), jax.process_count()),
        )
        return loader.training(
            split, self.preprocessing, self.augmentation, self.sampler(split), schedule
        )

    @property
    def annotated(self) -> bool:
        """Whether anything asks for the annotations of images: a loss, or the network."""
        asked = (term.name in OF_PREDICTIONS for term in self.objective.terms)
        return any(asked) or models.asks_points(self.model)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what a step measures beside "loss" and "gradient_norm"."""
        observed = ("cosine", "positive_distance", "negative_distance")
        return (*observed, *self.after_update.metrics)

    @cached_property
    def after_update(self) -> AfterUpdate:
        """What moves or clamps the gates of batch-instance normalisation, where there are any."""
        if self.meta.domains:
            blocks = self.sampling.domains_per_batch
            begins = max(self.meta.start, self.optimizer.new_only)
            meta = dataclasses.replace(self.meta, start=begins)
            return MetaBIN(self.model, self.preprocess, meta, blocks)
        return ClampedGates() if self.model.norm == "bin" else AfterUpdate()

    @cached_property
    def transformation(self) -> "optax.GradientTransformation":
        """The optimiser over the state's parameters, each at its own rate.

        The last layers, which no backbone brings, have `optimizer.new_rate`, a term's parameters
        the term's `rate`; both, and what side heads begin with, are what the first
        `optimizer.new_only` steps move.
        """
        terms = objectives.rates(self.objective.terms)

        def rate(path: tuple[str, ...]) -> float:
            if path[0] == "objective":
                return terms[path[1]]
            return self.optimizer.new_rate if models.last_layer(path[1:]) else 1.0

        def new(path: tuple[str, ...]) -> bool:
            return path[0] == "objective" or models.new_parameters(path[1:])

        tx = self.optimizer.build(self.train.steps, rate, new)
        return with_fixed_parts(tx, self.objective.stages)
