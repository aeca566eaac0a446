"""A training given as objects from Python, in place of a config file."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, Unpack

from abe_jax import losses, models
from abe_jax.config.schema import Config, Data, Evaluate, Fashion, Model
from abe_jax.config.training import prepare_training
from abe_jax.data import Augmentation, Dataset, Preprocessing, Sampling
from abe_jax.models.backbones.table import backbone
from abe_jax.runs.run import Run
from abe_jax.training import Optimizer, Train
from abe_jax.training.stop import StopRequest


class Parts(TypedDict, total=False):
    """What `fit` takes beside model, loss and images; each has a default."""

    batch: int  # images of one batch; 64
    chunks: int  # parts of it that pass the network one after the other; 1
    optimizer: Optimizer  # Adam at rate 1e-4
    sampling: Sampling  # class-balanced batches, 4 images of a class
    preprocessing: Preprocessing  # of the backbone's own size, mean and std of the weights
    augmentation: Augmentation  # mirrored crops
    weights: str  # what the stages start from: see `pretrained.NAMED`, an .npz or a run's folder
    seed: int
    threads: int  # that decode images; 2
    ks: tuple[int, ...]  # of Recall@K
    stages: tuple[losses.TrainingStage, ...]  # that alternate; none
    log_every: int  # in steps, as the two below
    evaluate_every: int
    checkpoint_every: int
    say: Callable[[str], None]  # is told how the training goes; print


def fit(
    model: models.Ensemble,
    loss: losses.Term | losses.Sum,
    data: Dataset,
    *,
    steps: int,
    workdir: str | Path,
    **parts: Unpack[Parts],
) -> Run:
    """Trains a model on a data set's training classes and gives the run at its best checkpoint.

    The best is chosen on the validation classes, or it is the last where the data set has none
    (`validate=False`); the test classes are not looked at. A training
    that was killed goes on when the same call is made again, and ends with the same bits. The
    folder is a run's as the command line makes it: `abe_jax.load` and the commands read it.

    Args:
        model: of `abe_jax.models`, such as ABE, Cascade or SingleHead.
        loss: a term or a sum of terms.
        data: of `abe_jax.data`, or `Dataset.of_splits` of one's own.
        steps: length of training.
        workdir: the folder of the run, new or of the same training.
        **parts: see `Parts`.

    Raises:
        UserError: what could not be trained, or not be measured at the end.
    """
    say = parts.get("say", print)
    config = config_of(model, loss, data, steps, parts)
    with prepare_training(config, Path(workdir), say, data) as training:
        training.fit(StopRequest(), say)
        return training.load()


def config_of(
    model: models.Ensemble,
    loss: losses.Term | losses.Sum,
    data: Dataset,
    steps: int,
    parts: Parts,
) -> Config:
    """The configuration that says the same as the objects."""
    size = backbone(model.backbone).size
    own = Preprocessing(resize=round(size * 8 / 7), size=size)
    section: dict[str, Any] = {"name": data.name, "threads": parts.get("threads", 2)}
    section["validate"] = data.validate
    for part in (
        data.options,
        parts.get("preprocessing", own),
        parts.get("augmentation", Augmentation(flip=True)),
        parts.get("sampling", Sampling(sampler="class_balanced")),
    ):
        section |= {} if part is None else dataclasses.asdict(part)
    network: dict[str, Any] = models.options(model) | {"weights": parts.get("weights", "")}
    if network["trunk_depth"] is None:
        network["trunk_depth"] = len(model.cut.trunk)
    own_options = [field.name for field in dataclasses.fields(Fashion) if field.name in network]
    network["fashion"] = Fashion(**{name: network.pop(name) for name in own_options})
    batch = parts.get("batch", 64)
    train: dict[str, Any] = {name: value for name, value in parts.items() if name in _OF_TRAIN}
    return Config(
        seed=parts.get("seed", 0),
        data=Data(**section),
        model=Model(**network),
        objective=losses.terms(loss),
        optimizer=parts.get("optimizer", Optimizer(name="adam", rate=1e-4)),
        train=Train(steps=steps, batch=batch, **train),
        stages=parts.get("stages", ()),
        evaluate=Evaluate(batch=batch, ks=parts.get("ks", Evaluate().ks)),
    )


_OF_TRAIN = ("chunks", "log_every", "evaluate_every", "checkpoint_every")
