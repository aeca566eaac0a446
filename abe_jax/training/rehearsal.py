"""What a training would need, found by compiling its step and taking a few: nothing is written."""

import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from abe_jax import hosts
from abe_jax.data.loader import Batch
from abe_jax.data.split import Split
from abe_jax.training import step
from abe_jax.training.recipe import Recipe
from abe_jax.training.state import TrainState

STEPS = (2, 50)  # timed: at least, at most
SECONDS = 5.0  # from which on no further step is timed


class Memory(NamedTuple):
    """Bytes on each device of this host."""

    parameters: int
    optimiser: int
    statistics: int  # of batch normalisation
    batch: int  # the device's rows
    activations: int  # what XLA's program of the step allocates beside its arguments
    step: int  # all together while a step runs


class Times(NamedTuple):
    """Seconds, on this machine now."""

    compiling: float
    step: float  # the mean of `steps`, loading of their images included
    steps: int
    images: int  # that this host loaded for it
    unreadable: int  # of these


class Rehearsal:
    """The compiled step of a recipe, and the batches that it would take from a step on."""

    def __init__(self, recipe: Recipe, train: Split, start: int):
        self._recipe, self._step = recipe, recipe.train_step()
        self._batches = recipe.batches(train, start)
        self._first = next(self._batches)
        began = time.perf_counter()
        program = self._step.compiled(recipe.abstract(), self._first)
        self._compiling = time.perf_counter() - began
        self.memory = _memory(recipe.abstract(), self._first, program)

    def times(self, start: TrainState) -> Times:
        """Takes steps from a state; all hosts call it together."""
        state = step.replicate(start)
        state, _ = self._step(state, self._first)
        jax.block_until_ready(state)
        # What was loaded during the compilation would make the rate too good: it is used up first.
        last, read = self._first, [self._first.mask]
        for last in itertools.islice(self._batches, 4 * self._recipe.threads):
            read.append(last.mask)
        taken, began = 0, time.perf_counter()
        for batch in self._timed(last, began):
            state, _ = self._step(state, batch)
            jax.block_until_ready(state)
            read.append(batch.mask)
            taken += 1
        seconds = (time.perf_counter() - began) / taken
        rows = np.concatenate(read)
        unreadable = int((~rows).sum())
        return Times(self._compiling, seconds, taken, len(rows), unreadable)

    def _timed(self, last: Batch, began: float) -> Iterator[Batch]:
        """Batches until the first host has had time enough; of a short training `last` again."""
        least, most = STEPS
        for number, batch in enumerate(itertools.chain(self._batches, itertools.repeat(last))):
            if number >= most or (number >= least and hosts.first_says(lambda: _late(began))):
                return
            yield batch


def _late(began: float) -> bool:
    return time.perf_counter() - began >= SECONDS


def _memory(state: TrainState, batch: Batch, program: jax.stages.Compiled) -> Memory:
    counted: Any = program.memory_analysis()
    outputs = counted.output_size_in_bytes - counted.alias_size_in_bytes
    activations = counted.temp_size_in_bytes + counted.generated_code_size_in_bytes + outputs
    return Memory(
        parameters=_bytes(state.params),
        optimiser=_bytes(state.opt_state),
        statistics=_bytes(state.batch_stats),
        batch=_bytes(batch) // jax.local_device_count(),
        activations=activations,
        step=counted.argument_size_in_bytes + activations,
    )


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
