"""Trains arms of one config side by side over several seeds and tables what came of them.

    python -m abe_jax.compare --config FILE --workdir DIR --seeds 3 --split val \\
        --arm 'single: model.kind=single model.learners=1' --arm 'ABE-4:' \\
        [--vary objective.divergence.weight=0,0.1,1] [--config.NAME=VALUE ...]

An arm is a name and its overrides; --vary multiplies the arms by the values of one name. Every run
has a folder of its own below DIR, and the same command goes on where it was stopped.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from abe_jax import command, complexity, report, step, timing
from abe_jax.config import Config, load
from abe_jax.data import datasets, loader, sampling
from abe_jax.errors import UserError
from abe_jax.report.conclusion import conclude
from abe_jax.run_folder import RunFolder
from abe_jax.training import fit
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


def arms(named: Sequence[str], varied: Sequence[str]) -> list[Arm]:
    """The arms that a command line names, times every value of each varied name.

    Raises:
        UserError: an arm without a name or two of one name, or a --vary without values.
    """
    found = [_arm(text) for text in named] or [Arm(name="", overrides=())]
    for text in varied:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise UserError(f"--vary {text}: is written --vary NAME=VALUE,VALUE,...")
        found = [
            Arm(
                name=f"{arm.name} {name.split('.')[-1]}={value}".strip(),
                overrides=(*arm.overrides, f"{name}={value}"),
            )
            for arm, value in itertools.product(found, values.split(","))
        ]
    names = [arm.name for arm in found]
    if len(set(names)) < len(names) or not all(names):
        raise UserError(f"arms need names of their own, got {names}; --arm 'NAME: OVERRIDES'")
    return found


def _arm(text: str) -> Arm:
    name, _, overrides = text.partition(":")
    return Arm(name=name.strip(), overrides=tuple(overrides.split()))


def row(name: str, configs: Sequence[Config], evaluations: Sequence[dict]) -> list[str]:
    """An arm's figures over its seeds, as `mean ± standard deviation`."""
    parts = complexity.rows(configs[0])
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


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains and evaluates every arm with every seed, then writes and prints the table."""
    stop = StopRequest()
    found = arms(arguments.arm, arguments.vary)
    configs = {
        arm.name: [
            load(arguments.config, [*overrides, *arm.overrides, f"seed={seed}"])
            for seed in range(arguments.seeds)
        ]
        for arm in found
    }
    evaluations: dict[str, list[dict]] = {}
    for name, seeded in configs.items():
        evaluations[name] = []
        for config in seeded:
            workdir = arguments.workdir / f"{name.replace('/', '_')} seed {config.seed}"
            evaluation = _evaluated(config, workdir, arguments.split, stop)
            if evaluation is None:
                return
            evaluations[name].append(evaluation)
    seconds = step_seconds([seeded[0] for seeded in configs.values()], arguments.rounds)
    rows = [
        [*row(name, configs[name], evaluations[name]), f"{1e3 * s:.1f}", f"{s / seconds[0]:.2f}"]
        for name, s in zip(configs, seconds, strict=True)
    ]
    table = report.tables.markdown(rows, HEADER)
    (arguments.workdir / "table.md").write_text(table + "\n")
    command.say(table)


def _evaluated(config: Config, workdir: Path, split: str, stop: StopRequest) -> dict | None:
    """The evaluation of a run, trained now or earlier; None when asked to stop."""
    step.check_devices(config)
    folder = RunFolder.create(workdir, config)
    known = json.loads(folder.evaluation.read_text()) if folder.evaluation.exists() else {}
    if split in known:
        return known[split]
    command.say(f"--- {workdir.name}")
    datasets.prepare(config.data)
    if not fit(config, folder, stop, command.say):
        return None
    conclude(folder, split, command.say)
    return json.loads(folder.evaluation.read_text())[split]


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.with_config((__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", required=True, type=Path, metavar="DIR")
    parser.add_argument("--arm", action="append", default=[], metavar="'NAME: OVERRIDES'")
    parser.add_argument("--vary", action="append", default=[], metavar="NAME=VALUE,VALUE")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N - 1")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--rounds", type=int, default=20, help="steps timed of each arm")
    run(*parser.parse(argv))


if __name__ == "__main__":
    command.run(main)
