"""Arms trained over several seeds, each run in a folder of its own, and evaluated.

A comparison that was stopped goes on where it was.
"""

import dataclasses
import gc
import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from abe_jax.comparison.arm import Arm, Tuning
from abe_jax.errors import Diverged, UserError
from abe_jax.runs.training import Training
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.stop import StopRequest


class Stopped(Exception):  # noqa: N818 (asked for, not a failure)
    """The comparison was asked to stop and has saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What every arm of a comparison has in common."""

    prepare: Callable[[Arm, int, Path], Training]  # of an arm, with a seed, in a folder
    workdir: Path
    seeds: int
    split: str
    rounds: int  # steps timed of each arm; 0: none
    stop: StopRequest
    say: Callable[[str], None]

    def training(self, arm: Arm, seed: int) -> Training:
        """An arm's training with one seed, in a folder of its own."""
        folder = self.workdir / f"{arm.name.replace('/', '_')} seed {seed}"
        return self.prepare(arm, seed, folder)


def tuned(of: Comparison, arm: Arm, tuning: Tuning) -> Arm:
    """The arm with the value that does best on the validation classes, with seed 0.

    Of equal values the first is taken. Nothing is measured on any other split.
    """
    choices = [
        dataclasses.replace(
            arm,
            name=f"{arm.name} {value}",
            overrides=(*arm.overrides, f"{tuning.name}={value}"),
        )
        for value in tuning.values
    ]
    reached = [_validated(of, choice) for choice in choices]
    if max(reached) == -math.inf:
        raise UserError(f"--tune {tuning.name}: {arm.name!r} diverges with each of the values")
    listed = ", ".join(f"{v}: {r:.4f}" for v, r in zip(tuning.values, reached, strict=True))
    best = choices[int(np.argmax(reached))]
    of.say(f"{arm.name}: {tuning.name} on validation classes: {listed}")
    return best


def _validated(of: Comparison, arm: Arm) -> float:
    with of.training(arm, 0) as training:
        _require_validation(training, "--tune")
        try:
            _fit(of, training)
        except Diverged as error:  # a value that is too large loses, and the others go on
            of.say(f"{arm.name}: {error}")
            return -math.inf
    best = Checkpoints(training.folder.best, 1)
    value = max(best.about(at)["value"] for at in best.steps())
    best.close()
    _free_programs()
    return value


def evaluations(of: Comparison, arm: Arm) -> list[dict]:
    """What every seed of an arm reaches on the comparison's split, trained now or earlier."""
    reached = []
    for seed in range(of.seeds):
        reached.append(_evaluation(of, arm, seed))
        _free_programs()
    return reached


def _free_programs() -> None:
    """Lets go of what was compiled for a run that is over.

    On a CPU each program takes some thousand mappings of memory, and a process has 65,530 by
    Linux's default: some fifteen large networks, and the next compilation ends the process.
    """
    gc.collect()
    jax.clear_caches()


def _require_validation(training: Training, asked: str) -> None:
    if training.sources.validation is None:
        raise UserError(
            f"{asked}: config.data.validate is False, so no class is kept for validation; set it "
            "to True"
        )


def _evaluation(of: Comparison, arm: Arm, seed: int) -> dict:
    with of.training(arm, seed) as training:
        if of.split == "val":
            _require_validation(training, "--split val")
        recorded = training.folder.evaluations()
        if of.split not in recorded:
            _fit(of, training)
            training.load().write_evaluation(of.split, of.say)
            recorded = training.folder.evaluations()
        return recorded[of.split]


def _fit(of: Comparison, training: Training) -> None:
    of.say(f"--- {training.folder.path.name}")
    if not training.fit(of.stop, of.say):
        raise Stopped
