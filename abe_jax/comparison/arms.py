"""Arms trained over several seeds, each run in a folder of its own, and evaluated.

A comparison that was stopped goes on where it was.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from abe_jax.cli import command
from abe_jax.config import Config, load
from abe_jax.config.resolve import resolved
from abe_jax.data.images import preprocessing
from abe_jax.errors import Diverged, UserError
from abe_jax.runs.conclusion import conclude
from abe_jax.runs.folder import RunFolder
from abe_jax.training import fit, step
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.stop import StopRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the comparison."""

    name: str
    overrides: tuple[str, ...]
    file: Path | None = None  # its config; None: the comparison's


class Tuning(NamedTuple):
    """A name whose best value each arm finds for itself, on the validation classes."""

    name: str
    values: tuple[str, ...]


class Stopped(Exception):  # noqa: N818 (asked for, not a failure)
    """The comparison was asked to stop and has saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What every arm of a comparison has in common."""

    file: Path  # the config of arms that name none
    overrides: tuple[str, ...]
    workdir: Path
    seeds: int
    split: str
    rounds: int  # steps timed of each arm; 0: none
    stop: StopRequest
    say: Callable[[str], None]

    def run(self, arm: Arm, seed: int) -> "Run":
        """An arm's run with one seed."""
        folder = RunFolder(self.workdir / f"{arm.name.replace('/', '_')} seed {seed}")
        overrides = (*self.overrides, *arm.overrides, f"seed={seed}")
        loaded = load(arm.file or self.file, overrides)
        preprocessing.check(loaded.data)
        config = resolved(loaded, folder)
        preprocessing.check(config.data)  # and what the weights brought
        return Run(config=config, folder=RunFolder.create(folder.path, config))


class Run(NamedTuple):
    """One training of a comparison, and where it lies."""

    config: Config
    folder: RunFolder


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
    found = [_validated(of, choice) for choice in choices]
    if max(found) == -math.inf:
        raise UserError(f"--tune {tuning.name}: {arm.name!r} diverges with each of the values")
    listed = ", ".join(f"{v}: {r:.4f}" for v, r in zip(tuning.values, found, strict=True))
    best = choices[int(np.argmax(found))]
    of.say(f"{arm.name}: {tuning.name} on validation classes: {listed}")
    return best


def _validated(of: Comparison, arm: Arm) -> float:
    run = of.run(arm, 0)
    try:
        _train(of, run)
    except Diverged as error:  # a value that is too large loses, and the others go on
        of.say(f"{arm.name}: {error}")
        return -math.inf
    best = Checkpoints(run.folder.best, 1)
    value = max(best.about(at)["value"] for at in best.steps())
    best.close()
    return value


def evaluations(of: Comparison, arm: Arm) -> list[dict]:
    """What every seed of an arm reaches on the comparison's split, trained now or earlier."""
    return [_evaluated(of, of.run(arm, seed)) for seed in range(of.seeds)]


def _evaluated(of: Comparison, run: Run) -> dict:
    path = run.folder.evaluation
    known = json.loads(path.read_text()) if path.exists() else {}
    if of.split not in known:
        _train(of, run)
        conclude(run.folder, of.split, of.say)
        known = json.loads(path.read_text())
    return known[of.split]


def _train(of: Comparison, run: Run) -> None:
    step.check_devices(run.config)
    of.say(f"--- {run.folder.path.name}")
    if not fit(run.config, run.folder, of.stop, of.say):
        raise Stopped


def compared(arguments: argparse.Namespace, overrides: Sequence[str]) -> Comparison:
    """What the arguments of `parser` say that all arms have in common.

    Raises:
        UserError: no seed, or fewer than no rounds.
    """
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: 1 or more")
    if arguments.rounds < 0:
        raise UserError(f"--rounds {arguments.rounds}: 0 (no step is timed) or more")
    return Comparison(
        file=Path(arguments.config),
        overrides=tuple(overrides),
        workdir=arguments.workdir,
        seeds=arguments.seeds,
        split=arguments.split,
        rounds=arguments.rounds,
        stop=StopRequest(),
        say=command.say,
    )


def parser(description: str, *, seeds: int, splits: Sequence[str]) -> command.Parser:
    """The arguments that every comparison takes, with the number of seeds that is its default."""
    made = command.with_config(description)
    made.add_argument("--workdir", required=True, type=Path, metavar="DIR")
    made.add_argument("--seeds", type=int, default=seeds, help="seeds 0 to N - 1")
    made.add_argument("--split", choices=splits, default=splits[0])
    made.add_argument("--rounds", type=int, default=20, help="steps timed of each arm; 0: none")
    return made
