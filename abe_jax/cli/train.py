"""Trains what a config describes: python -m abe_jax.train --config FILE --workdir DIR."""

import time
from collections.abc import Sequence
from pathlib import Path

import jax

from abe_jax.cli import command
from abe_jax.config import Config
from abe_jax.config.training import prepare_training
from abe_jax.training.progress import duration
from abe_jax.training.stop import on_sigterm


def run(config: Config, workdir: Path) -> None:
    """Prepares the data, trains, evaluates the best checkpoint on the test classes and reports.

    A run that was stopped, at whatever point, goes on where it was saved last.
    """
    began = time.perf_counter()
    with on_sigterm() as stop:
        training = prepare_training(config, workdir, command.say)
        command.say(
            f"{config.model.kind} model on {jax.device_count()} "
            f"{jax.devices()[0].platform} device(s)"
        )
        if not training.fit(stop, command.say):
            return
        training.load().write_evaluation("test", command.say)
    took = duration(time.perf_counter() - began)
    command.say(f"finished in {took}; look at {training.folder.report}")


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.with_config(__doc__ or "")
    parser.add_argument(
        "--workdir", required=True, type=Path, metavar="DIR", help="the run's folder"
    )
    command.add_hosts(parser)
    arguments, overrides = parser.parse(argv)
    config = command.configuration(arguments.config, overrides)
    command.join_hosts(arguments)
    run(config, arguments.workdir)
