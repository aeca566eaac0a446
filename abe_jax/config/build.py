"""From a configuration to the objects that it names: the only place where config becomes objects.

What an object refuses by its own argument's name (`ArgumentError`) is told by the name that the
config has for it.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from abe_jax import data as data_room
from abe_jax import models
from abe_jax.config.schema import Config, Data, Evaluate, Fashion, Model
from abe_jax.data import Augmentation, Dataset, Preprocessing, Sampling, Split
from abe_jax.data.dataset import OWN_SPLITS
from abe_jax.data.images.augmentation import check as check_together
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.network import Network
from abe_jax.evaluation.options import Measures
from abe_jax.losses import Objective
from abe_jax.training import Optimizer, Recipe, Train

SECTIONS = {
    "config.data": Data,
    "config": Config,
    "config.model": Model,
    "config.model.fashion": Fashion,
    "config.optimizer": Optimizer,
    "config.train": Train,
    "config.evaluate": Evaluate,
}


@contextlib.contextmanager
def named(*sections: str) -> Iterator[None]:
    """Re-raises an ArgumentError under the config's name: of the first section that has it.

    Raises:
        UserError: in the place of an ArgumentError inside.
    """
    try:
        yield
    except ArgumentError as error:
        having = [name for name in sections if error.argument in _names(SECTIONS[name])]
        section = (having or sections)[0]
        raise UserError(f"{section}.{error.argument}: {error.text}") from None


def model(config: Model) -> models.Ensemble:
    """The network."""
    given = {name: value for name, value in _fields(config).items() if name != "weights"}
    fashion = given.pop("fashion")
    if config.kind == models.FashionNet.kind:
        given |= _fields(fashion)
    elif fashion != Fashion():
        raise UserError(
            f"config.model.fashion: options of kind 'fashion_net', but config.model.kind is "
            f"{config.kind!r}; leave them as they are, or set it to 'fashion_net'"
        )
    with named("config.model", "config.model.fashion"):
        return models.build(given.pop("kind"), **given)


def preprocessing(config: Data) -> Preprocessing:
    """What every image goes through."""
    with named("config.data"):
        return Preprocessing(**_shared(config, Preprocessing))


def augmentation(config: Data) -> Augmentation:
    """What training does to images at random."""
    with named("config.data"):
        made = Augmentation(**_shared(config, Augmentation))
        check_together(preprocessing(config), made)
        return made


def sampling(config: Data) -> Sampling:
    """Which images make a batch."""
    with named("config.data"):
        return Sampling(**_shared(config, Sampling))


def dataset(config: Data) -> Dataset:
    """The data set; its splits are read when they are asked for."""
    if config.name == OWN_SPLITS:
        return Dataset(name=OWN_SPLITS, read=_not_here, prepare=lambda: None)

    def prepare() -> Path | None:
        with named("config.data"):
            return made.prepare()

    with named("config.data"):
        options = data_room.SourceOptions(**_shared(config, data_room.SourceOptions))
        made = data_room.named(config.name, options)
    fields: dict[str, Any] = {**_fields(made), "prepare": prepare}
    return _Configured(**fields)


def turned_images(config: Data) -> int:
    """How many images of a prepared set a list of rotations turns upright."""
    from abe_jax.data.sources.benchmarks import reading  # only for who tests on such a set
    from abe_jax.data.sources.benchmarks.table import BENCHMARKS

    if config.name not in BENCHMARKS:
        return 0
    with named("config.data"):
        options = data_room.SourceOptions(**_shared(config, data_room.SourceOptions))
        return reading.turned(BENCHMARKS[config.name], options)


class _Configured(Dataset):
    """A data set whose mistakes, found when a split is read, are told by the config's names."""

    def split(self, name: str) -> Split:
        """As `Dataset.split`."""
        with named("config.data"):
            return super().split(name)


def _not_here(split: str) -> Split:
    raise UserError(
        f"the split {split} is not here: the run was trained on splits of a program's own; give "
        "that data set to `abe_jax.load(path, data)`"
    )


def objective(config: Config) -> Objective:
    """The weighted sum of losses."""
    blocks = config.data.domains_per_batch if config.data.sampler == "domains" else 0
    shares = config.data.attribute_shares
    with named("config"):
        return Objective(config.objective, config.data.classes, blocks, shares, config.stages)


def recipe(config: Config) -> Recipe:
    """All parts of the training but its images."""
    return Recipe(
        model=model(config.model),
        objective=objective(config),
        optimizer=config.optimizer,
        preprocessing=preprocessing(config.data),
        augmentation=augmentation(config.data),
        sampling=sampling(config.data),
        train=config.train,
        meta=config.meta,
        seed=config.seed,
        threads=config.data.threads,
    )


def network(config: Config) -> Network:
    """The network as an evaluation uses it: with its preprocessing, batch and sizes."""
    with named("config.evaluate"):
        return Network(
            model(config.model),
            preprocessing(config.data),
            batch=config.evaluate.batch,
            longest=config.evaluate.longest,
            side_step=config.evaluate.side_step,
            threads=config.data.threads,
        )


def measures(config: Evaluate) -> Measures:
    """What is measured of a split."""
    return Measures(**_shared(config, Measures))


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _shared(config: Any, cls: type) -> dict[str, Any]:
    """The values of a section that are fields of a class as well."""
    return {name: value for name, value in _fields(config).items() if name in _names(cls)}


def _names(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}
