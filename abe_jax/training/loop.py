"""The training loop: a run that can be stopped at any point and goes on as if it never had been."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from abe_jax import hosts
from abe_jax.data.loader import Batch
from abe_jax.data.split import Split
from abe_jax.errors import Diverged
from abe_jax.losses import objective
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.collapse import warnings
from abe_jax.training.progress import Progress, compiling
from abe_jax.training.recipe import Recipe
from abe_jax.training.recorder import Recorder
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.selection import Selection, Validation
from abe_jax.training.state import TrainState
from abe_jax.training.status import Status
from abe_jax.training.stop import StopRequest
from abe_jax.training.unreadable import Unreadable

Say = Callable[[str], None]


class Sources(NamedTuple):
    """What a training reads: its images, how it is judged, and the state that it starts from."""

    train: Split
    validation: Validation | None  # None: nothing is chosen, the last checkpoint is taken
    start: Callable[[], TrainState]  # asked for only where there is no checkpoint to go on from
    unreadable_share: float = 0.01  # a greater share of unreadable images stops the run


def fit(
    recipe: Recipe,
    sources: Sources,
    folder: RunFolder,
    stop: StopRequest,
    say: Say,
    status: Status | None = None,
) -> bool:
    """Trains from the latest checkpoint to the last step; `status` is told how it goes.

    Returns:
        True when training is complete, False when it was asked to stop and has saved.

    Raises:
        UserError: what the recipe or the images do not allow, a damaged checkpoint, or a loss that
            is not finite.
    """
    status = status or Status(folder, recipe.train.steps, recipe.train.batch, say)
    loop = _Loop(recipe, sources, folder, say, status)
    try:
        return loop.run(stop)
    finally:
        loop.close()


class _Loop:
    """The state of a training between steps."""

    def __init__(
        self, recipe: Recipe, sources: Sources, folder: RunFolder, say: Say, status: Status
    ):
        self.recipe, self.train, self.say, self.status = recipe, recipe.train, say, status
        self.latest = Checkpoints(folder.latest, 2, writes=True)
        self.selection = Selection(sources.validation, folder, recipe.train, say)
        begun = bool(self.latest.steps())
        start = self.latest.restore(recipe.abstract())[0] if begun else sources.start()
        self.step = int(start.step)
        status.goes_on(self.step)
        self.state = step.replicate(start)
        self.train_step = recipe.train_step()
        self.checked_finite = ("loss", *objective.keys(recipe.objective.terms), "gradient_norm")
        columns = (*self.checked_finite, *recipe.metrics, *self.selection.columns)
        self.recorder = Recorder(folder, columns, self.train, after=self.step)
        self.progress = Progress(self.train.steps, self.train.batch)
        self.unreadable = Unreadable(folder, sources.train, sources.unreadable_share, say)
        self.pending: list[tuple[int, step.Metrics]] = []
        self.batches = recipe.batches(sources.train, self.step)

    def run(self, stop: StopRequest) -> bool:
        """Steps until the end or until asked to stop."""
        if self.step:
            self.say(f"going on from step {self.step} of {self.train.steps}")
        first = True
        for batch in self.batches:
            self.unreadable.note(batch)
            if first:
                self._first_step(batch)
                first = False
            else:
                self._step(batch)
            stopping = stop.requested(self.step)
            self._after_step(stopping)
            if stopping and self.step < self.train.steps:
                return self._stopped()
        if not (self.train.steps or self.latest.steps()):
            self._untrained()
        elif self.selection.lacks(self.step):  # the last one takes its place
            self.selection.takes(self.selection.measured(self.state), saves=True)
            self.selection.save(self._finite_state(), only=True)
        return True

    def _stopped(self) -> bool:
        self.latest.wait()  # before it is said that it is saved
        line = f"asked to stop: step {self.step} is saved, the same command goes on"
        self.say(line)
        self.status.stops(line)
        return False

    def _untrained(self) -> None:
        """Of a training without steps: what it starts from is what there is to measure."""
        self.status.enter("evaluating")
        values = self.selection.measured(self.state)
        self._log(values, self.progress.rate())
        self.selection.takes(values, saves=True)
        state = self._finite_state()
        self.selection.save(state, only=True)
        self.latest.save(state, {})

    def _first_step(self, batch: Batch) -> None:
        self.say("compiling the training step ...")
        self.status.enter("compiling")
        began = time.perf_counter()
        with compiling(self.say):
            self._step(batch)
            jax.block_until_ready(self.state)
        took = time.perf_counter() - began
        self.progress.pause(took)
        self.say(f"compiled in {took:.1f} s (kept for the next start)")
        self.status.enter("training")

    def _step(self, batch: Batch) -> None:
        hosts.reached(f"step {self.step + 1}")
        self.state, metrics = self.train_step(self.state, batch)
        self.step += 1
        self.progress.count()
        self.pending.append((self.step, metrics))
        self.status.handed(self.step, metrics["loss"])

    def _after_step(self, stopping: bool) -> None:
        every, end = self.train, self.step == self.train.steps
        logs, validates = every.logs(self.step), every.validates(self.step)
        saves = end or stopping or self.step % every.checkpoint_every == 0
        if not (logs or saves):
            return
        # Before hosts exchange anything: behind a step that failed since a host is gone, another
        # host may wait in that step still, and Gloo would crash it with what it does not wait for.
        fetched = self._fetched()
        self.unreadable.settle()
        values = self._finite(fetched)
        rate = self.progress.rate()
        self.status.measured(rate)
        began = time.perf_counter()
        if validates:
            self.status.enter("evaluating")
            values |= self.selection.measured(self.state)
        if logs:
            self._log(values, rate)
        taken = self.selection.takes(values, saves)
        if taken or saves:
            self.status.enter("saving")
            state = self._finite_state()
            if taken:
                self.selection.save(state)
            if saves:
                self.latest.save(state, {})
        self.progress.pause(time.perf_counter() - began)
        self.status.enter("training")

    def _fetched(self) -> list[tuple[int, dict[str, float]]]:
        """The metrics of the steps since the last call, each with its number; waits for them."""
        fetched = [(number, step.fetch(metrics)) for number, metrics in self.pending]
        self.pending.clear()
        return fetched

    def _finite(self, fetched: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
        """The metrics of the step just taken, the last; those of every step are checked."""
        values: dict[str, float] = {}
        for number, values in fetched:
            checked = {name: values[name] for name in self.checked_finite}
            if not all(math.isfinite(value) for value in checked.values()):
                shown = ", ".join(f"{name} {value:.4g}" for name, value in checked.items())
                raise self._not_finite(f"step {number}: the loss is not finite ({shown})")
        return values

    def _finite_state(self) -> TrainState:
        """The state to save: a finite loss can still have stepped to parameters that are not."""
        state = step.unreplicate(self.state)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            if not np.isfinite(leaf).all():
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise self._not_finite(f"step {self.step}: {name} is not finite")
        return state

    def _not_finite(self, what: str) -> Diverged:
        self.latest.wait()
        saved = self.latest.steps()
        intact = f"step {saved[-1]} is saved and intact" if saved else "nothing was saved"
        return Diverged(f"{what}; {intact}; lower optimizer.rate or set optimizer.clip")

    def _log(self, values: dict[str, float], rate: float) -> None:
        self.recorder.row(self.step, values, rate)
        self.say(self.progress.line(self.step, values, rate))
        for warning in warnings(self.recipe, values):
            self.say(f"warning: {warning}")

    def close(self) -> None:
        """Finishes what is being written."""
        self.status.enter("saving")
        self.latest.close()
        self.selection.close()
        self.recorder.close()
