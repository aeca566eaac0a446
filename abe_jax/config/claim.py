"""What a folder is to a training: new, or of a run that goes on or further."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from abe_jax.config.again import steps_saved
from abe_jax.config.files import differences, read_json, write_json
from abe_jax.config.schema import Config
from abe_jax.errors import UserError
from abe_jax.training.run_folder import RunFolder


def claim(folder: RunFolder, config: Config) -> None:
    """Makes the folder that of a training: new, or going on with the same configuration.

    A folder without a checkpoint is not a run yet: a mistake in the configuration can be put right
    without naming another folder. A run also goes on for more steps, or for fewer that it has not
    taken yet, where its steps so far are the same under both lengths. Of several hosts the first
    alone calls this, while it holds `RunFolder.alone`.

    Raises:
        UserError: the folder is another configuration's, the run cannot have that length, or
            nothing can be written there.
    """
    try:
        if folder.has_run():
            _go_on(folder, config)
            return
        if folder.config.exists():  # else these names are somebody else's files
            for left in (folder.metrics, folder.unreadable, folder.damaged):
                left.unlink(missing_ok=True)
        write_json(config, folder.config)
    except OSError as error:
        raise UserError(f"{folder.path}: cannot be written ({error.strerror})") from None


def _go_on(folder: RunFolder, config: Config) -> None:
    before = read_json(folder.config)
    changed = differences(before, config)
    if not changed:
        return
    steps = dataclasses.replace(before.train, steps=config.train.steps)
    if differences(dataclasses.replace(before, train=steps), config):
        raise UserError(
            f"{folder.path}: holds a run of another config ({'; '.join(changed[:3])}"
            f"{'; ...' if len(changed) > 3 else ''}); name another --workdir"
        )
    _check_length(folder, before, config.train.steps)
    # What was found at the end of the shorter training stays, under a name that says so.
    folder.set_aside(f"after {before.train.steps} steps")
    write_json(config, folder.config)


def _check_length(folder: RunFolder, before: Config, steps: int) -> None:
    """Refuses another length of training under which steps that were taken would differ."""
    taken, planned = (steps_saved(folder) or [0])[-1], before.train.steps
    remedy = f"keep config.train.steps={planned}, or name another --workdir"
    if steps <= taken:
        raise UserError(
            f"config.train.steps: {steps}, but the run in {folder.path} has taken {taken} steps; "
            f"give more than {taken}, {remedy}"
        )
    at = jnp.arange(taken)
    rates = [
        np.broadcast_to(before.optimizer.rates(length)(at), at.shape) for length in (planned, steps)
    ]
    differ = np.flatnonzero(rates[0] != rates[1])
    if len(differ):
        raise UserError(
            f"config.train.steps: {steps}, but the {taken} steps taken in {folder.path} followed "
            f"the schedule {before.optimizer.schedule!r} over {planned}, which differs from step "
            f"{differ[0]} on; {remedy}"
        )
