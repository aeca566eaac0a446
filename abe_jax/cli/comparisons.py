"""What the commands that compare have in common: their arguments."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.comparison import Arm, Comparison
from abe_jax.config import load
from abe_jax.config.training import prepare_training
from abe_jax.errors import UserError
from abe_jax.runs.training import Training
from abe_jax.training.stop import StopRequest


def comparison_of(
    arguments: argparse.Namespace, overrides: Sequence[str], stop: StopRequest
) -> Comparison:
    """What the arguments of `parser` say that all arms have in common.

    Raises:
        UserError: --seeds below 1, or --rounds below 0.
    """
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: 1 or more")
    if arguments.rounds < 0:
        raise UserError(f"--rounds {arguments.rounds}: 0 (no step is timed) or more")

    def prepare(arm: Arm, seed: int, folder: Path) -> Training:
        changes = (*overrides, *arm.overrides, f"seed={seed}")
        return prepare_training(load(arm.file or arguments.config, changes), folder, command.say)

    return Comparison(
        prepare=prepare,
        workdir=arguments.workdir,
        seeds=arguments.seeds,
        split=arguments.split,
        rounds=arguments.rounds,
        stop=stop,
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
