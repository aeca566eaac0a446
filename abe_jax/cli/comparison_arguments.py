"""The arguments that compare and sweep share, and what they say that all arms have in common."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.cli import command, ending
from abe_jax.errors import UserError

if TYPE_CHECKING:
    from abe_jax.comparison import Arm, Comparison
    from abe_jax.runs.training import Training
    from abe_jax.training.stop import StopRequest


def check(arguments: argparse.Namespace) -> None:
    """Refuses numbers that cannot be.

    Raises:
        UserError: --seeds below 1, or --rounds below 0.
    """
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: 1 or more")
    if arguments.rounds < 0:
        raise UserError(f"--rounds {arguments.rounds}: 0 (no step is timed) or more")


@contextlib.contextmanager
def until_stopped() -> "Iterator[StopRequest]":
    """What a comparison inside asks whether to stop; stopped it ends as a training does."""
    from abe_jax.comparison import Stopped
    from abe_jax.training.stop import on_sigterm

    with on_sigterm() as stop:
        try:
            yield stop
        except Stopped:
            sys.exit(ending.GO_ON)


def comparison_of(
    arguments: argparse.Namespace, overrides: Sequence[str], stop: "StopRequest"
) -> "Comparison":
    """What the arguments of `parser`, checked, say that all arms have in common."""
    from abe_jax.comparison import Comparison
    from abe_jax.config import load
    from abe_jax.config.training import prepare_training

    def prepare(arm: "Arm", seed: int, folder: Path) -> "Training":
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


def add_shared(
    parser: command.Parser, *, splits: Sequence[str], seeds: int, rounds: int = 20
) -> None:
    """Adds what every comparison takes; `seeds`, `rounds` and the first split are the defaults."""
    parser.add_argument(
        "--workdir", required=True, type=Path, metavar="DIR", help="a folder of every run's folder"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=seeds,
        metavar="N",
        help=f"train each with the seeds 0 to N - 1; default: {seeds}",
    )
    parser.add_argument(
        "--split",
        choices=splits,
        default=splits[0],
        help=f"the classes that each is measured on; default: {splits[0]}",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=rounds,
        metavar="N",
        help=f"steps timed of each; 0: none; default: {rounds}",
    )
