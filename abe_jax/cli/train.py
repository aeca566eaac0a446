"""Trains what a config describes, evaluates the best checkpoint and reports.

A run that was stopped, at whatever point, goes on by the same command where it was saved last.
SIGTERM and SIGUSR1 save, and end it with status 75: started again it goes on.

With --config.data.validate=False all classes but the test's are trained on, and the last checkpoint
is taken, chosen by nothing: choose settings by runs on validation classes, then train with them so.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.cli import command, dry_run, ending, several

if TYPE_CHECKING:
    from abe_jax.config import Config
    from abe_jax.runs.training import Training
    from abe_jax.training.run_folder import RunFolder


def run(config: "Config", workdir: Path) -> bool:
    """Prepares the data, trains, evaluates the best checkpoint on the test classes and reports.

    A run that was stopped, at whatever point, goes on where it was saved last; of one that is
    finished the test's table is said again.

    Returns:
        False when it was asked to stop and has saved; True when it is finished.
    """
    from abe_jax.config.resume import is_finished
    from abe_jax.training import status
    from abe_jax.training.run_folder import RunFolder

    began, folder = time.perf_counter(), RunFolder(workdir)
    if is_finished(config, folder):
        _say_again(folder)
        status.note(folder, "finished", None)  # a kill came between the page and the last word
        command.say(f"finished before, all {config.train.steps} steps; look at {folder.report}")
        return True
    import jax

    from abe_jax.training.progress import duration
    from abe_jax.training.stop import on_sigterm

    with on_sigterm() as stop, _prepared(config, folder) as training:
        ending.told[:] = [training.status.failed]
        command.say(
            f"{config.model.kind} model on {jax.device_count()} "
            f"{jax.devices()[0].platform} device(s)"
        )
        if not training.fit(stop, command.say):
            return False
        training.status.enter("evaluating")
        training.load().write_evaluation("test", command.say)
    took = duration(time.perf_counter() - began)
    command.say(f"finished in {took}; look at {folder.report}")
    return True


def _prepared(config: "Config", folder: "RunFolder") -> "Training":
    """The training; what refuses it stands in the status.json of a run that went before."""
    from abe_jax.config.training import prepare_training
    from abe_jax.training import status

    try:
        return prepare_training(config, folder.path, command.say)
    except Exception as error:
        status.note(folder, "failed", status.words(error))
        raise


def _say_again(folder: "RunFolder") -> None:
    """The test's table of a run that is finished, on the first host alone, which looked at it."""
    from abe_jax import hosts
    from abe_jax.report import tables

    if hosts.is_first():
        command.say(tables.evaluation_table(folder.evaluations()["test"], split="test"))


def parser() -> command.Parser:
    """The arguments."""
    made = command.with_config(
        "train", __doc__, example="--config configs/quickstart.py --workdir runs/quickstart"
    )
    made.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the run's folder")
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would run, on what, with which memory and for how long; writes nothing",
    )
    several.add_hosts(made)
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    with several.together(arguments):
        config = command.configuration(arguments.config, overrides)
    if arguments.dry_run:
        dry_run.run(config, arguments.workdir)
    elif not run(config, arguments.workdir):
        sys.exit(ending.GO_ON)
