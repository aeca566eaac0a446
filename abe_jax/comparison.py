"""Arms of one config trained side by side over several seeds, and the table of what came of them.

Every run has a folder of its own, so a comparison that was stopped goes on where it was.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from abe_jax import command, counting, report, step, timing
from abe_jax.checkpoint import Checkpoints
from abe_jax.config import Config, load
from abe_jax.data import datasets, loader, sampling
from abe_jax.errors import Diverged, UserError
from abe_jax.report.conclusion import conclude
from abe_jax.run_folder import RunFolder
from abe_jax.training import fit
from abe_jax.training.resolve import resolved
from abe_jax.training.stop import StopRequest

HEADER = (
    "arm",
    "R@1 %",
    "MAP@R",
    "R@1 % of one learner",
    "cosine of learners",
    "parameters",
    "million MACs",
    "step ms",
    "x first",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the comparison."""

    name: str
    overrides: tuple[str, ...]


class Tuning(NamedTuple):
    """A name whose best value each arm finds for itself, on the validation classes."""

    name: str
    values: tuple[str, ...]


class Stopped(Exception):  # noqa: N818 (asked for, not a failure)
    """The comparison was asked to stop and has saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What every arm of a comparison has in common."""

    file: Path  # the config
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
        loaded = load(self.file, [*self.overrides, *arm.overrides, f"seed={seed}"])
        config = resolved(loaded, folder)
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
        Arm(name=f"{arm.name} {value}", overrides=(*arm.overrides, f"{tuning.name}={value}"))
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


def table(of: Comparison, arms: Sequence[Arm]) -> list[list[str]]:
    """A row for each arm under HEADER; the two of time are "-" where nothing is timed.

    Raises:
        Stopped: asked to, between two steps of a training.
    """
    found = [evaluations(of, arm) for arm in arms]
    configs = [of.run(arm, 0).config for arm in arms]
    rows = [row(arm.name, config, e) for arm, config, e in zip(arms, configs, found, strict=True)]
    if not of.rounds:
        return [[*one, "-", "-"] for one in rows]
    seconds = step_seconds(configs, of.rounds)
    return [
        [*one, f"{1e3 * s:.1f}", f"{s / seconds[0]:.2f}"]
        for one, s in zip(rows, seconds, strict=True)
    ]


def row(name: str, config: Config, evaluations: Sequence[dict]) -> list[str]:
    """An arm's figures over its seeds, as `mean ± standard deviation`."""
    parts = counting.rows(config)
    ensembles = [found["metrics"]["ensemble"] for found in evaluations]
    learners = [found["metrics"]["learners_mean"]["recall@1"] for found in evaluations]
    cosines = [f["cosine"]["same_image"]["mean"] for f in evaluations if "cosine" in f]
    return [
        name,
        spread([100 * found["recall@1"] for found in ensembles], 2),
        spread([found["map@r"] for found in ensembles], 3),
        spread([100 * value for value in learners], 2),
        spread(cosines, 3) if cosines else "-",
        f"{parts[-1].parameters:,}",
        f"{parts[-1].multiply_adds / 1e6:.2f}",
    ]


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and, of two and more values, their sample standard deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def step_seconds(configs: Sequence[Config], rounds: int) -> list[float]:
    """The median time of a training step of each config, taken in turns so that drift is shared."""
    calls = {str(place): _stepper(config) for place, config in enumerate(configs)}
    return list(timing.medians(calls, rounds).values())


def _stepper(config: Config) -> Any:
    split = datasets.load(config.data, "train")
    sample = sampling.sampler(config.data, split.labels, config.train.batch, config.seed)
    batch = next(loader.training(split, config.data, sample, seed=0, start=0, steps=1))
    run = step.train_step(config)
    state = step.replicate(step.create(config))

    def once() -> Any:
        nonlocal state
        state, metrics = run(state, batch)
        return metrics

    return once


def write(of: Comparison, rows: Sequence[Sequence[str]], name: str = "table.md") -> None:
    """Writes the rows as a markdown table into the comparison's folder and prints it."""
    text = report.tables.markdown([list(one) for one in rows], HEADER)
    (of.workdir / name).write_text(text + "\n")
    of.say(text)


def compared(arguments: argparse.Namespace, overrides: Sequence[str]) -> Comparison:
    """What the arguments of `parser` say that all arms have in common."""
    return Comparison(
        file=arguments.config,
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
