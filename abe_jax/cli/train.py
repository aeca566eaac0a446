"""Trains what a config describes: python -m abe_jax.train --config FILE --workdir DIR."""

import time
from collections.abc import Sequence
from pathlib import Path

import jax

from abe_jax import hosts
from abe_jax.cli import command
from abe_jax.config import Config
from abe_jax.config.resolve import resolved
from abe_jax.data.images import preprocessing
from abe_jax.runs.conclusion import conclude
from abe_jax.runs.folder import RunFolder
from abe_jax.training import fit, step
from abe_jax.training.progress import duration
from abe_jax.training.stop import StopRequest


def run(config: Config, workdir: Path) -> None:
    """Prepares the data, trains, evaluates the best checkpoint on the test classes and reports.

    A run that was stopped, at whatever point, goes on where it was saved last.
    """
    began = time.perf_counter()
    stop = StopRequest()
    with hosts.together():
        preprocessing.check(config.data)
        step.check_devices(config)
        config = resolved(config, RunFolder(workdir))
        preprocessing.check(config.data)  # and what the weights brought
        folder = RunFolder.create(workdir, config)
        command.say(
            f"{config.model.kind} model on {jax.device_count()} "
            f"{jax.devices()[0].platform} device(s)"
        )
    if not fit(config, folder, stop, command.say):
        return
    conclude(folder, "test", command.say)
    command.say(f"finished in {duration(time.perf_counter() - began)}; look at {folder.report}")


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
