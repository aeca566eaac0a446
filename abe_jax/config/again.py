"""A training that is started again: what its config leaves open, and whether anything is to do.

Neither needs the libraries of a training, which take seconds to import.
"""

import dataclasses
from typing import Any

import numpy as np

from abe_jax import hosts
from abe_jax.config.files import differences, read_json
from abe_jax.config.schema import Config
from abe_jax.report import tables
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder


def as_begun(config: Config, before: Config) -> Config:
    """`config` with what it leaves open of its images as a run that goes on has it in config.json.

    That is mean and std, where both are empty, and the classes kept for validation; not the number
    of classes, which is what it is.
    """
    data = config.data
    if not (data.mean or data.std):
        data = dataclasses.replace(data, mean=before.data.mean, std=before.data.std)
    if not data.validation_classes:
        data = dataclasses.replace(data, validation_classes=before.data.validation_classes)
    if not data.attribute_shares:
        data = dataclasses.replace(data, attribute_shares=before.data.attribute_shares)
    return dataclasses.replace(config, data=data)


def finished_test(config: Config, folder: RunFolder) -> dict[str, Any] | None:
    """What the test found where the folder's run is that of `config` and nothing is left to do.

    None where something is: steps, the test of the best checkpoint, or the page. No image is looked
    at, and what the config leaves to them is what the run's config.json says. All hosts call this;
    the first alone looks, and the others are given an empty test.

    Raises:
        UserError: the run's config.json is damaged.
    """
    with hosts.together():
        found = _finished_test(config, folder) if hosts.is_first() else None
    if not hosts.gather_rows(np.array([found is not None]))[0]:
        return None
    return found or {}


def _finished_test(config: Config, folder: RunFolder) -> dict[str, Any] | None:
    if not all(path.exists() for path in (folder.config, folder.evaluation, folder.report)):
        return None
    before = read_json(folder.config)
    config = as_begun(config, before)
    if not config.model.branch:
        from abe_jax.config.resolve import with_branch

        config = with_branch(config)
    classes = config.data.classes or before.data.classes
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, classes=classes))
    if differences(before, config) or steps_saved(folder)[-1:] != [config.train.steps]:
        return None
    tested = folder.evaluations().get("test", {})
    try:
        tables.evaluation_table(tested, split="test")  # which needs all that will be printed
        is_whole = tables.columns(tested) or tested["grains"]
        best = Checkpoints.steps_in(folder.best)
        return tested if is_whole and tested["step"] in best else None
    except (ValueError, LookupError, TypeError, AttributeError):  # damaged: it is made anew
        return None


def steps_saved(folder: RunFolder) -> list[int]:
    """The steps of the checkpoints to go on from, rising."""
    return Checkpoints.steps_in(folder.latest)
