"""What an earlier training left in the folder: nothing, a run that goes on or further, or all done.

That a run is finished is said without the libraries of a training, which take seconds to import.
"""

import dataclasses
import hashlib

import jax.numpy as jnp
import numpy as np

from abe_jax import hosts
from abe_jax.config.files import differences, read_json, write_json
from abe_jax.config.schema import Config
from abe_jax.errors import UserError
from abe_jax.report import tables
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder


def as_begun(config: Config, before: Config) -> Config:
    """`config` with what it leaves open of its images as a run that goes on has it in config.json.

    That is mean and std, where both are empty, the classes kept for validation and the shares of
    attributes; not the number of classes, which is what it is.
    """
    data = config.data
    if not (data.mean or data.std):
        data = dataclasses.replace(data, mean=before.data.mean, std=before.data.std)
    if not data.validation_classes:
        data = dataclasses.replace(data, validation_classes=before.data.validation_classes)
    if not data.attribute_shares:
        data = dataclasses.replace(data, attribute_shares=before.data.attribute_shares)
    return dataclasses.replace(config, data=data)


def with_branch(config: Config) -> Config:
    """`config` with the backbone's own branch, and a cascade's own stages, where it names none."""
    model = config.model
    if model.branch and (model.kind != "cascade" or model.side_stages):
        return config
    from abe_jax.config import build  # which imports what a training needs

    network = build.model(model)
    sides = getattr(network, "side_names", model.side_stages)
    branch = network.cut.encoder[-1].name
    return dataclasses.replace(
        config, model=dataclasses.replace(model, branch=branch, side_stages=sides)
    )


def is_finished(config: Config, folder: RunFolder) -> bool:
    """Whether the folder's run is that of `config` and nothing is left to do.

    Left to do may be steps, the test of the best checkpoint, or the page. No image is looked at,
    and what the config leaves to them is what the run's config.json says. All hosts call this, and
    the first alone looks.

    Raises:
        UserError: the run's config.json is damaged.
    """
    return hosts.first_says(lambda: _is_trained(config, folder) and _is_tested(folder))


def _is_trained(config: Config, folder: RunFolder) -> bool:
    if not all(path.exists() for path in (folder.config, folder.evaluation, folder.report)):
        return False
    before = read_json(folder.config)
    config = with_branch(as_begun(config, before))
    classes = config.data.classes or before.data.classes
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, classes=classes))
    return not differences(before, config) and steps_saved(folder)[-1:] == [config.train.steps]


def _is_tested(folder: RunFolder) -> bool:
    tested = folder.evaluations().get("test", {})
    try:
        tables.evaluation_table(tested, split="test")  # which needs all that will be printed
        is_whole = tables.columns(tested) or tested["grains"]
        return bool(is_whole) and tested["step"] in Checkpoints.steps_in(folder.best)
    except (ValueError, LookupError, TypeError, AttributeError):  # damaged: it is made anew
        return False


def steps_saved(folder: RunFolder) -> list[int]:
    """The steps of the checkpoints to go on from, rising."""
    return Checkpoints.steps_in(folder.latest)


# Seconds in which hosts that see other things in a run's folder look again: NFS keeps what it knows
# of a folder for up to a minute, so that a file just written is not seen at once everywhere.
SEEN_WITHIN = 70.0


def seen(folder: RunFolder) -> dict[str, str]:
    """What this host sees of a run, in words that hosts of one job compare."""
    try:
        written = hashlib.sha256(folder.config.read_bytes()).hexdigest()[:8]
    except OSError as error:  # none, or a handle that has become stale
        written = "none" if isinstance(error, FileNotFoundError) else str(error.strerror)
    kept = {
        "to go on from": steps_saved(folder),
        "that did best": Checkpoints.steps_in(folder.best),
    }
    words = {
        f"checkpoints {what} in the work folder": ", ".join(map(str, steps)) or "none"
        for what, steps in kept.items()
    }
    return {"config.json in the work folder": written, **words}


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


def check_claim(folder: RunFolder, config: Config) -> None:
    """Refuses what `claim` refuses of a run that is there, and writes nothing."""
    try:
        if folder.has_run():
            _before_another_length(folder, config)
    except OSError as error:
        raise UserError(f"{folder.path}: cannot be written ({error.strerror})") from None


def _go_on(folder: RunFolder, config: Config) -> None:
    before = _before_another_length(folder, config)
    if before:
        # What was found at the end of the shorter training stays, under a name that says so.
        folder.set_aside(f"after {before.train.steps} steps")
        write_json(config, folder.config)


def _before_another_length(folder: RunFolder, config: Config) -> Config | None:
    """The run's config so far, where it goes on for another length; None where nothing changes."""
    before = read_json(folder.config)
    changed = differences(before, config)
    if not changed:
        return None
    steps = dataclasses.replace(before.train, steps=config.train.steps)
    if differences(dataclasses.replace(before, train=steps), config):
        raise UserError(
            f"{folder.path}: holds a run of another config ({'; '.join(changed[:3])}"
            f"{'; ...' if len(changed) > 3 else ''}); name another --workdir"
        )
    _check_length(folder, before, config.train.steps)
    return before


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
