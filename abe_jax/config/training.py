"""A training as a config describes it: its parts, its images, its folder and its first state."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from abe_jax import evaluation, hosts, models, pretrained
from abe_jax.config import annotated, build, checks, stored, weights
from abe_jax.config.devices import check_devices
from abe_jax.config.files import described, read_json
from abe_jax.config.local_files import contents
from abe_jax.config.memory import check_memory
from abe_jax.config.resume import SEEN_WITHIN, as_begun, check_claim, claim, seen, with_branch
from abe_jax.config.schema import Config
from abe_jax.data import Dataset, Split
from abe_jax.data.listed import listings
from abe_jax.runs.training import Training
from abe_jax.training import Recipe, Validation
from abe_jax.training.loop import Sources
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState
from abe_jax.training.status import Status

Say = Callable[[str], None]
# Seconds that the first of several hosts waits for a folder that another training holds: that of a
# job that was begun again can still be ending, or hang in a file system.
LOCK_PATIENCE = 120.0


def prepare_training(
    config: Config,
    workdir: Path,
    say: Say,
    dataset: Dataset | None = None,
    *,
    claims: bool = True,
) -> Training:
    """Everything that a training needs, checked; its folder is made and holds its config.json.

    Of several hosts, what one refuses all refuse, and such as were started differently, list other
    images or see another work folder are refused.

    Args:
        config: what to train.
        workdir: the run's folder, new or of a run of the same config that goes on, or of one that
            goes on for more steps than were asked of it before. It is this training's until that
            is closed.
        say: is told of warnings.
        dataset: the images; None: those that the config names.
        claims: False: the folder is neither made nor written nor held; what would refuse the
            training refuses all the same.

    Raises:
        UserError: what could not be trained, or not be measured at the end; another training of
            the same folder.
    """
    begun = RunFolder(workdir).has_run()
    hosts.alike(lambda: described(config) | contents(config, begun=begun))
    with contextlib.ExitStack() as lock:
        with hosts.together():
            training = _prepared(config, RunFolder(workdir), say, dataset, lock if claims else None)
        checks.check_ways()
        hosts.alike(training.listings)
        hosts.alike(lambda: seen(training.folder), SEEN_WITHIN)
        return dataclasses.replace(training, lock=lock.pop_all())


def _prepared(
    config: Config,
    folder: RunFolder,
    say: Say,
    given: Dataset | None,
    lock: contextlib.ExitStack | None,
) -> Training:
    build.dataset(config.data)
    build.augmentation(config.data)
    check_devices(config, _begun(folder))
    config = resolved(config, given, folder)
    check_memory(config)
    images, recipe = given or build.dataset(config.data), build.recipe(config)
    train, test = images.split("train"), images.split("test")
    val = images.split("val") if config.data.validate else None
    checks.check(config, train, [split for split in (val, test) if split])
    with build.named("config.data", "config.train"):
        recipe.sampler(train)
    with build.named("config.optimizer"):
        recipe.transformation  # noqa: B018 (made once; its mistakes are told here)
    if hosts.is_first():
        _claim(config, folder, lock)
    begins = config.model.weights and not folder.has_run()
    of_weights = weights.normalisation_warnings(config) if begins else ()
    for warning in (*train.notes, *of_weights, *_chunk_warnings(config, recipe)):
        say(f"warning: {warning}")
    return Training(
        recipe=recipe,
        sources=Sources(
            train,
            _validation(config, val) if val else None,
            lambda: starting_state(config, recipe),
            config.data.unreadable_share,
        ),
        folder=folder,
        load=lambda: stored.run(folder.path, dataset=images),
        listings=listings(split for split in (train, val, test) if split),
        status=Status(folder, config.train.steps, config.train.batch, say),
    )


def _claim(config: Config, folder: RunFolder, lock: contextlib.ExitStack | None) -> None:
    """Takes the folder as `lock` holds it; without, refuses what that would refuse."""
    if lock is None:
        folder.require_free()
        check_claim(folder, config)
        return
    lock.enter_context(folder.alone(LOCK_PATIENCE if jax.process_count() > 1 else 0.0))
    claim(folder, config)


def resolved(
    config: Config, dataset: Dataset | None = None, folder: RunFolder | None = None
) -> Config:
    """`config` with the numbers that were left open; the same whenever a run goes on.

    A run that goes on in `folder` has its weights in the checkpoint: they are not asked for again.

    config.data.mean and std, where both are empty, become those that the weights were trained
    with; config.data.validation_classes and classes, where they are 0, the share that is kept for
    validation where the data has none of its own (where config.data.validate, else it stays 0), and
    the number of the training split's classes; attribute_shares, where it is empty and a loss asks
    for it, those of the training images; config.model.branch and side_stages, where they are empty,
    the backbone's own. Without weights mean and std stay empty. Of a `dataset` that a program gave,
    nothing is kept beyond what it keeps itself.

    Raises:
        UserError: weights that are not there or are another backbone's, or data that is not there.
    """
    before = _begun(folder) if folder else None
    if before:
        config = as_begun(config, before)
    elif config.model.weights:
        config = dataclasses.replace(config, data=weights.normalised(config.data, config.model))
    data = config.data
    if data.validate and not (before or data.validation_classes or dataset):
        with build.named("config.data"):
            kept = build.dataset(data).default_validation_classes
        data = dataclasses.replace(data, validation_classes=kept)
    if not data.classes:
        images = dataset or build.dataset(data)
        data = dataclasses.replace(data, classes=images.classes)
    config = annotated.with_shares(dataclasses.replace(config, data=data), dataset)
    return with_branch(config)


def _chunk_warnings(config: Config, recipe: Recipe) -> Iterator[str]:
    """What chunks of a batch change beside its memory: nothing without batch normalisation."""
    train, model = config.train, config.model
    if train.chunks == 1 or (model.freeze_norm and not model.neck):
        return
    with build.named("config.optimizer", "config.model", "config.data", "config"):
        batch_stats = recipe.abstract().batch_stats
    if batch_stats:
        yield (
            f"config.train.chunks: batch normalisation takes its statistics of "
            f"{train.batch // train.chunks} images and not of {train.batch}"
        )


def _begun(folder: RunFolder) -> Config | None:
    return read_json(folder.config) if folder.has_run() and folder.config.exists() else None


def _validation(config: Config, val: Split) -> Validation:
    network, measures = build.network(config), build.measures(config.evaluate)

    def measure(state: TrainState, split: Split) -> tuple:
        embedded = network.vectors(state, split)
        return evaluation.ensemble_metrics(embedded, split, measures), embedded.unreadable

    return Validation(
        split=val,
        measure=measure,
        names=evaluation.metric_names(config.evaluate.ks),
        select=config.evaluate.select,
        unreadable_share=config.data.unreadable_share,
    )


def starting_state(config: Config, recipe: Recipe) -> TrainState:
    """The state before the first step: initialised from the seed, with config.model.weights.

    Raises:
        UserError: weights that do not fit.
    """
    with build.named("config.optimizer", "config.model", "config.data", "config"):
        state = recipe.create()
    if not config.model.weights:
        return state
    was = weights.sides_of(config.model)
    params, batch_stats = weights.stages_of(config.model)
    shape = recipe.preprocessing.shape
    with build.named("config.model"):
        # Position embeddings are those of one size of image.
        needed = models.stage_params(state.params["model"])
        params = pretrained.fitted(params, needed, shape, was)
        grafted = models.graft(state.params["model"], params)
        statistics = state.batch_stats
        if statistics:
            statistics = models.graft(statistics, batch_stats)
    return state.replace(params={**state.params, "model": grafted}, batch_stats=statistics)
