"""What a config leaves to its weights and its data, filled in where a run begins."""

import dataclasses

import numpy as np
from jaxtyping import Float

from abe_jax import pretrained
from abe_jax.config import annotated, build
from abe_jax.config.again import as_begun
from abe_jax.config.files import read_json
from abe_jax.config.schema import Config, Data, Model
from abe_jax.data import Dataset
from abe_jax.data.sources import class_splits
from abe_jax.errors import UserError
from abe_jax.files import expanded
from abe_jax.models.backbones.table import backbone
from abe_jax.training.run_folder import RunFolder


def resolved(
    config: Config, dataset: Dataset | None = None, folder: RunFolder | None = None
) -> Config:
    """`config` with the numbers that were left open; the same whenever a run goes on.

    A run that goes on in `folder` has its weights in the checkpoint: they are not asked for again.

    config.data.mean and std, where both are empty, become those that the weights were trained
    with; config.data.validation_classes and classes, where they are 0, the share that is kept for
    validation where the data has none of its own, and the number of the training split's classes;
    config.model.branch, where it is empty, the backbone's own. Without weights mean and std stay
    empty. Of a `dataset` that a program gave, nothing is kept beyond what it keeps itself.

    Raises:
        UserError: weights that are not there or are another backbone's, or data that is not there.
    """
    before = _begun(folder) if folder else None
    if before:
        config = as_begun(config, before)
    elif config.model.weights:
        config = dataclasses.replace(config, data=_normalised(config.data, config.model))
    data = config.data
    if not (before or data.validation_classes or dataset):
        with build.named("config.data"):
            kept = class_splits.default_validation_classes(build.dataset(data).read)
        data = dataclasses.replace(data, validation_classes=kept)
    if not data.classes:
        images = dataset or build.dataset(data)
        data = dataclasses.replace(data, classes=images.classes)
    config = dataclasses.replace(config, data=data)
    return with_branch(annotated.with_shares(config, dataset or build.dataset(data)))


def with_branch(config: Config) -> Config:
    """`config` with the backbone's own branch where it names none."""
    if config.model.branch:
        return config
    with build.named("config.model"):
        model = dataclasses.replace(config.model, branch=backbone(config.model.backbone).branch)
    return dataclasses.replace(config, model=model)


def _begun(folder: RunFolder) -> Config | None:
    return read_json(folder.config) if folder.has_run() and folder.config.exists() else None


def run_of(name: str) -> RunFolder | None:
    """The folder of a run, where config.model.weights names a folder and not weights.

    Raises:
        UserError: the folder is not a run's.
    """
    path = expanded(name)
    if name in pretrained.NAMED or not path.is_dir():
        return None
    folder = RunFolder(path)
    if not folder.config.exists():
        raise UserError(f"config.model.weights: {path} is not the folder of a run (no config.json)")
    return folder


def require_fit(model: Model, about: pretrained.About) -> None:
    """Raises UserError where weights are another backbone's, or were trained with another norm.

    Those trained with `batch` fit `bin` as well, whose batch half they are.
    """
    if model.backbone != about.backbone:
        raise UserError(
            f"config.model.backbone: {model.backbone!r}, but config.model.weights are those of "
            f"{about.source}; set config.model.backbone to {about.backbone!r}"
        )
    norm = model.norm or backbone(model.backbone).norms[0]
    if norm != about.norm and (norm, about.norm) != ("bin", "batch"):
        raise UserError(
            f"config.model.norm: {norm!r}, but config.model.weights are those of {about.source}; "
            f"set config.model.norm to {about.norm!r}"
        )


def normalisation_warnings(config: Config) -> list[str]:
    """What to warn of where weights were trained on images that are normalised otherwise.

    Black and white, as the network sees them, are compared: a difference of a twentieth of their
    distance is let pass, since published means differ in their digits.
    """
    data, about = config.data, _about(config.model)
    theirs = _range(about.mean, about.std)
    difference = np.abs(_range(data.mean, data.std) - theirs).max()
    if difference <= 0.05 * np.ptp(theirs, axis=0).min():
        return []
    return [
        f"config.data.mean {data.mean} and std {data.std} are not those that config.model.weights "
        f"were trained with, {about.mean} and {about.std}; left empty, they become these"
    ]


def _range(mean: tuple[float, ...], std: tuple[float, ...]) -> Float[np.ndarray, "2 c"]:
    return (np.array([[0.0], [255.0]]) - np.array(mean or (0.0,))) / np.array(std or (1.0,))


def _about(model: Model) -> Data | pretrained.About:
    folder = run_of(model.weights)
    if folder:
        return read_json(folder.config).data
    with build.named("config.model"):
        return pretrained.describe(model.weights)


def _normalised(data: Data, model: Model) -> Data:
    about = _about(model)
    if isinstance(about, pretrained.About):
        require_fit(model, about)
        if data.channels != len(about.mean):
            raise UserError(
                f"config.data.channels: {data.channels}, but config.model.weights are those of "
                f"{about.source}; set config.data.channels to {len(about.mean)}"
            )
    if data.mean or data.std:
        return data
    return dataclasses.replace(data, mean=about.mean, std=about.std)
