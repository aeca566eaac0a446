"""What earlier programs left on disk, as objects: runs, the networks of indexes, weights."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abe_jax.config import build
from abe_jax.config.files import overridden, read_json
from abe_jax.config.near_duplicates import capture_rule
from abe_jax.config.other_data import OtherData
from abe_jax.config.parse import from_mapping, to_mapping
from abe_jax.config.schema import Config
from abe_jax.data import Dataset
from abe_jax.data.images.sides import Sides
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.resolution import Resolution
from abe_jax.files import expanded
from abe_jax.index import manifest, model_files
from abe_jax.index.index import Index
from abe_jax.runs.evaluation import Tested
from abe_jax.runs.fitted_whitening import Fitting
from abe_jax.runs.run import Run
from abe_jax.training import Recipe
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState


def run(
    path: Path,
    *,
    other: OtherData | None = None,
    dataset: Dataset | None = None,
    evaluate: Sequence[str] = (),
    near_duplicates: Sequence[str] = (),
) -> Run:
    """The run in a folder: its best checkpoint and all that a test of it needs.

    Args:
        path: the run's folder.
        other: another data set to test on than the run's own.
        dataset: the run's images, where a program gave them that no config names.
        evaluate: overrides of what the config measures, such as "evaluate.grains=True".
        near_duplicates: overrides of the config that say how near-duplicates are left out as well,
            such as "evaluate.near_duplicates=distance".

    Raises:
        UserError: no run, no checkpoint, or a damaged one; errors of `OtherData.applied`.
    """
    folder = RunFolder(path)
    config = read_json(folder.config)
    recipe = build.recipe(config)
    state, about = _best(folder, recipe)
    own = dataset or build.dataset(config.data)
    measured = overridden(config, evaluate)
    _fitting(measured).check(recipe.model)
    return Run(
        folder=folder,
        recipe=recipe,
        embedder=Embedder(build.network(config), state, to_mapping(config)),
        dataset=own,
        tested=_tested(config, own, other, [*evaluate, *near_duplicates]),
        fitting=_fitting(measured, asked=_fitting(measured) != _fitting(config)),
        select=config.evaluate.select if config.data.validate else "",
        step=int(about["step"]),
        digest=about["digest"],
    )


def _tested(
    config: Config, own: Dataset, other: OtherData | None, overrides: Sequence[str]
) -> Tested:
    applied = overridden(other.applied(config) if other else config, overrides)
    same = applied.data == config.data  # a program may have given images that no config names
    return Tested(
        own if same else build.dataset(applied.data),
        build.measures(applied.evaluate),
        applied.data.unreadable_share,
        capture_rule(applied),
        other.label if other else "",
    )


def _fitting(config: Config, asked: bool = False) -> Fitting:
    measured = config.evaluate
    return Fitting(images=measured.whiten, path=measured.whiten_path, seed=config.seed, asked=asked)


def _best(folder: RunFolder, recipe: Recipe) -> tuple[TrainState, dict[str, Any]]:
    if not folder.best.is_dir():  # Orbax would make it
        raise UserError(f"{folder.path}: the run has no checkpoint yet; train it first")
    like = recipe.abstract()
    while True:
        best = Checkpoints(folder.best, 1)
        try:
            return best.restore(like)
        except UserError:  # a training that goes on meanwhile puts a better one in its place
            if best.steps() == Checkpoints.steps_in(folder.best):
                raise
        finally:
            best.close()


def embedder_of_run(path: Path) -> Embedder:
    """The network of a run's best checkpoint, without the optimiser; errors of `run`."""
    folder = RunFolder(path)
    config = read_json(folder.config)
    state, _ = _best(folder, build.recipe(config))
    return Embedder.of(
        build.network(config), state.params["model"], state.batch_stats, to_mapping(config)
    )


def embedder_of_index(folder: Path, fingerprint: str = "") -> Embedder:
    """The network in a folder that `index.model_files.save` wrote.

    Args:
        folder: where.
        fingerprint: of the network that it should be. Arrays that give it are the right ones, so
            the model is not traced for their shapes, which takes half a second.

    Raises:
        UserError: a file is missing or damaged, or does not fit its config.
    """
    path = folder / model_files.CONFIG
    try:
        config = from_mapping(model_files.read_description(folder))
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    network, described = build.network(config), to_mapping(config)

    def made(arrays: Mapping[str, Any]) -> Embedder:
        return Embedder.of(network, arrays["params"], arrays["batch_stats"], described)

    if fingerprint:
        own = model_files.own_arrays(folder)
        if own is not None and (embedder := made(own)).fingerprint == fingerprint:
            return embedder
    return made(model_files.read_arrays(folder, network.shapes()))


def index(folder: Path) -> Index:
    """An index with its own network.

    Raises:
        UserError: no index, damage, or a network that is not the one of the vectors.
    """
    state = manifest.load(folder)  # its errors are the first to be told
    return Index(folder, embedder_of_index(folder / model_files.FOLDER, state.spec.fingerprint))


def in_batches_of(embedder: Embedder, images: int) -> Embedder:
    """The same network with another batch, which its description names as well."""
    config = from_mapping(embedder.description)
    evaluate = dataclasses.replace(config.evaluate, batch=images)
    described = to_mapping(dataclasses.replace(config, evaluate=evaluate))
    return embedder.in_batches_of(images, described)


def at_size(embedder: Embedder, size: Sides | None, longest: int | None = None) -> Embedder:
    """The same network for images of `size` px, which its description says as well.

    With `longest` in the place of `size`: for whole images, their longest side so many px.

    Raises:
        ArgumentError: `size` or `longest`: the network takes no such images.
    """
    network = Resolution(size=size, longest=longest).network(embedder.network)
    config, seen = from_mapping(embedder.description), network.preprocessing
    data = dataclasses.replace(config.data, size=seen.size, resize=seen.resize)
    evaluate = dataclasses.replace(config.evaluate, longest=network.longest)
    described = to_mapping(dataclasses.replace(config, data=data, evaluate=evaluate))
    return Embedder(network, embedder.state, described)


def load(path: str | Path, data: Dataset | None = None) -> Run | Index:
    """The run or the index in a folder, by what lies in it.

    `data` are the images of a run that was trained on splits of a program's own.

    Raises:
        UserError: neither, or damage.
    """
    folder = expanded(path)
    if (folder / manifest.NAME).exists():
        return index(folder)
    if RunFolder(folder).config.exists():
        return run(folder, dataset=data)
    raise ArgumentError("path", f"{folder} is the folder of neither a run nor an index")
