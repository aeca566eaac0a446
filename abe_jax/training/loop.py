"""The training loop: a run that can be stopped at any point and goes on as if it never had been."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from abe_jax import evaluation
from abe_jax.config import Config
from abe_jax.config.checks import check
from abe_jax.config.resolve import normalised_otherwise
from abe_jax.data import dataset, loader, sampling
from abe_jax.errors import Diverged
from abe_jax.evaluation.embed import embed
from abe_jax.losses import objective
from abe_jax.runs.folder import RunFolder
from abe_jax.runs.start import starting_state
from abe_jax.runs.unreadable import Unreadable
from abe_jax.training import metabin, step
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.collapse_signs import warnings
from abe_jax.training.progress import Progress
from abe_jax.training.recorder import Recorder
from abe_jax.training.stop import StopRequest

Say = Callable[[str], None]


def fit(config: Config, folder: RunFolder, stop: StopRequest, say: Say) -> bool:
    """Trains from the latest checkpoint to the last step.

    Returns:
        True when training is complete, False when it was asked to stop and has saved.

    Raises:
        UserError: what the configuration or the data do not allow, a damaged checkpoint, or a
            loss that is not finite.
    """
    loop = _Loop(config, folder, say)
    try:
        return loop.run(stop)
    finally:
        loop.close()


class _Loop:
    """The state of a training between steps."""

    def __init__(self, config: Config, folder: RunFolder, say: Say):
        self.config, self.say = config, say
        self.train = dataset.load(config.data, "train")
        self.val = dataset.load(config.data, "val")
        check(config, self.train, (self.val, dataset.load(config.data, "test")))
        sample = sampling.sampler(
            config.data,
            self.train.labels,
            config.train.batch,
            config.seed,
            groups=self.train.groups,
        )
        self.latest, self.best = Checkpoints(folder.latest, 2), Checkpoints(folder.best, 1)
        start = starting_state(config, self.latest)
        self.at = int(start.step)
        if config.model.weights and not self.at:
            for warning in normalised_otherwise(config):
                say(f"warning: {warning}")
        self.state = step.replicate(start)
        self.best_value = max((self.best.about(s)["value"] for s in self.best.steps()), default=-1)
        self.train_step, self.embed_step = step.train_step(config), step.embed_step(config)
        self.proved = ("loss", *objective.keys(config.objective), "gradient_norm")
        observed = ("cosine", "positive_distance", "negative_distance")
        validated = (f"val_{name}" for name in evaluation.names(config.evaluate.ks))
        columns = (*self.proved, *observed, *metabin.metrics(config), *validated)
        self.recorder = Recorder(folder, columns, after=self.at)
        self.progress = Progress(config.train.steps, config.train.batch)
        share = config.data.unreadable_share
        self.unreadable = Unreadable(folder, self.train, share, say)
        self.unreadable_val = Unreadable(folder, self.val, share, say)
        self.pending: list[tuple[int, step.Metrics]] = []
        self.batches = self._batches(sample)

    def _batches(self, sample: Callable[[int], Any]) -> Iterator[loader.Batch]:
        return loader.training(
            self.train,
            self.config.data,
            sample,
            seed=self.config.seed,
            start=self.at,
            steps=self.config.train.steps,
            shard=loader.Shard(jax.process_index(), jax.process_count()),
        )

    def run(self, stop: StopRequest) -> bool:
        """Steps until the end or until asked to stop."""
        if self.at:
            self.say(f"going on from step {self.at} of {self.config.train.steps}")
        first = True
        for batch in self.batches:
            self.unreadable.note(batch)
            if first:
                self._first_step(batch)
                first = False
            else:
                self._step(batch)
            stopping = stop.requested(self.at)
            self._after_step(stopping)
            if stopping and self.at < self.config.train.steps:
                self.say(f"asked to stop: step {self.at} is saved, the same command goes on")
                return False
        if not (self.config.train.steps or self.latest.steps()):
            self._untrained()
        elif not self.best.steps():
            # Deleted, as a damaged one must be: the last one takes its place.
            self._is_better(self._validate())
            self.best.save(self._proved_state(), {"value": self.best_value})
        return True

    def _untrained(self) -> None:
        """Of a training without steps: what it starts from is what there is to measure."""
        values = self._validate()
        self._log(values, self.progress.rate())
        self._is_better(values)
        state = self._proved_state()
        self.best.save(state, {"value": self.best_value})
        self.latest.save(state, {})

    def _first_step(self, batch: loader.Batch) -> None:
        self.say("compiling the training step ...")
        began = time.perf_counter()
        self._step(batch)
        jax.block_until_ready(self.state)
        took = time.perf_counter() - began
        self.progress.pause(took)
        self.say(f"compiled in {took:.1f} s (kept for the next start)")

    def _step(self, batch: loader.Batch) -> None:
        self.state, metrics = self.train_step(self.state, batch)
        self.at += 1
        self.progress.count()
        self.pending.append((self.at, metrics))

    def _after_step(self, stopping: bool) -> None:
        every, end = self.config.train, self.at == self.config.train.steps
        logs = end or self.at % every.log_every == 0
        validates = end or (every.evaluate_every and self.at % every.evaluate_every == 0)
        saves = end or stopping or self.at % every.checkpoint_every == 0
        if not (logs or validates or saves):
            return
        self.unreadable.settle()
        values = self._drain()
        rate = self.progress.rate()
        began = time.perf_counter()
        if validates:
            values |= self._validate()
        if logs or validates:
            self._log(values, rate)
        better = bool(validates) and self._is_better(values)
        if better or saves:
            state = self._proved_state()
            if better:
                self.best.save(state, {"value": self.best_value})
            if saves:
                self.latest.save(state, {})
        self.progress.pause(time.perf_counter() - began)

    def _drain(self) -> dict[str, float]:
        """The metrics of the step just taken; every step since the last call proved finite."""
        values: dict[str, float] = {}
        for at, metrics in self.pending:
            values = step.fetch(metrics)
            proved = {name: values[name] for name in self.proved}
            if not all(math.isfinite(value) for value in proved.values()):
                shown = ", ".join(f"{name} {value:.4g}" for name, value in proved.items())
                raise self._not_finite(f"step {at}: the loss is not finite ({shown})")
        self.pending.clear()
        return values

    def _proved_state(self) -> step.TrainState:
        """The state to save: a finite loss can still have stepped to parameters that are not."""
        state = step.unreplicate(self.state)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            if not np.isfinite(leaf).all():
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise self._not_finite(f"step {self.at}: {name} is not finite")
        return state

    def _not_finite(self, what: str) -> Diverged:
        self.latest.wait()
        saved = self.latest.steps()
        intact = f"step {saved[-1]} is saved and intact" if saved else "nothing was saved"
        return Diverged(
            f"{what}; {intact}; lower config.optimizer.rate or set config.optimizer.clip"
        )

    def _validate(self) -> dict[str, float]:
        embedded = embed(self.state, self.embed_step, self.val, self.config)
        self.unreadable_val.add(embedded.unreadable)
        found = evaluation.of_split(
            embedded.vectors, embedded.instances, self.val, self.config.evaluate
        )
        return {f"val_{name}": value for name, value in found.items()}

    def _is_better(self, values: dict[str, float]) -> bool:
        value = values[f"val_{self.config.evaluate.select}"]
        better = value > self.best_value
        self.best_value = max(value, self.best_value)
        return better

    def _log(self, values: dict[str, float], rate: float) -> None:
        self.recorder.row(self.at, values, rate)
        self.say(self.progress.line(self.at, values, rate))
        for warning in warnings(self.config, values):
            self.say(f"warning: {warning}")

    def close(self) -> None:
        """Finishes what is being written."""
        self.latest.close()
        self.best.close()
        self.recorder.close()
