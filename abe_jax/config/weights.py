"""Weights that a config names: a run's, or those that others trained; a network of these alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from abe_jax import models, pretrained
from abe_jax.config import build
from abe_jax.config.files import read_json
from abe_jax.config.parse import to_mapping
from abe_jax.config.schema import Config, Data, Evaluate, Model
from abe_jax.data.images import sides
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.files import expanded
from abe_jax.models.backbones.stages import Stages
from abe_jax.models.backbones.table import backbone
from abe_jax.pretrained.stored import StageTrees
from abe_jax.training import Train
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

BATCH = 32  # images embedded at once; also the work of a search for one


def normalised(data: Data, model: Model) -> Data:
    """`data` with the mean and std that config.model.weights were trained with, if it has neither.

    Raises:
        UserError: no such weights, or they do not fit.
    """
    about = _about(model)
    if isinstance(about, pretrained.About):
        _require_fit(model, about)
        if data.channels != len(about.mean):
            raise UserError(
                f"config.data.channels: {data.channels}, but config.model.weights are those of "
                f"{about.source}; set config.data.channels to {len(about.mean)}"
            )
    if data.mean or data.std:
        return data
    return dataclasses.replace(data, mean=about.mean, std=about.std)


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


def stages_of(model: Model) -> tuple[StageTrees, StageTrees]:
    """The parameters and the running statistics of config.model.weights, by stage.

    Raises:
        UserError: no such weights, damaged ones, or they do not fit.
    """
    folder = _run_of(model.weights)
    if folder is None:
        return _of_others(model)
    return _of_run(folder)


def sides_of(model: Model) -> tuple[int, int] | None:
    """Height and width of the images that config.model.weights saw as a run; None of others'."""
    folder = _run_of(model.weights)
    return sides.both(read_json(folder.config).data.size) if folder else None


def _of_others(model: Model) -> tuple[StageTrees, StageTrees]:
    """Those that others trained."""
    with build.named("config.model"):
        weights = pretrained.load(model.weights)
    _require_fit(model, weights)
    return weights.params, weights.batch_stats


def _of_run(folder: RunFolder) -> tuple[StageTrees, StageTrees]:
    """Those of a run's best checkpoint."""
    like = build.recipe(read_json(folder.config)).abstract()
    best = Checkpoints(folder.best, 1)
    state, _ = best.restore(like)
    best.close()
    return models.stage_params(state.params["model"]), models.stage_params(state.batch_stats)


def _run_of(name: str) -> RunFolder | None:
    """The folder of a run, where `name` is that of a folder and not of weights."""
    path = expanded(name)
    if name in pretrained.NAMED or not path.is_dir():
        return None
    folder = RunFolder(path)
    if not folder.config.exists():
        raise UserError(f"config.model.weights: {path} is not the folder of a run (no config.json)")
    return folder


def _about(model: Model) -> Data | pretrained.About:
    folder = _run_of(model.weights)
    if folder:
        return read_json(folder.config).data
    with build.named("config.model"):
        return pretrained.describe(model.weights)


def _require_fit(model: Model, about: pretrained.About) -> None:
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


def _range(mean: tuple[float, ...], std: tuple[float, ...]) -> Float[np.ndarray, "2 c"]:
    return (np.array([[0.0], [255.0]]) - np.array(mean or (0.0,))) / np.array(std or (1.0,))


def embedder_of_weights(name: str) -> Embedder:
    """The network of weights that others trained, nothing trained on top: a single learner.

    `name` is one of `pretrained.NAMED` or an .npz of `python -m abe_jax.convert`. The vector is the
    unit vector of the last map's average (of a vision transformer: of its class token). Images are
    what such weights are tested on: the middle square, scaled to 8/7 of the backbone's own size,
    of which the middle is seen.

    Raises:
        ArgumentError: no such weights.
    """
    weights = pretrained.load(name)
    config = pretrained_model(weights, name)
    network = build.network(config)
    needed = network.shapes()
    stages = pretrained.fitted(weights.params, models.stage_params(needed["params"]))
    params, statistics = models.graft(needed["params"], stages), needed["batch_stats"]
    if statistics:
        statistics = models.graft(statistics, weights.batch_stats)
    return Embedder.of(network, params, statistics, to_mapping(config))


def pretrained_model(about: pretrained.About, name: str) -> Config:
    """Its configuration: one learner, the pooled last map, of images as such weights are tested on.

    That is the middle square, scaled to 8/7 of the backbone's own size, of which the middle is
    seen. `name` is noted as where the weights come from.
    """
    known = backbone(about.backbone)
    size = known.size
    data = Data(
        name="folder",
        resize=round(size * 8 / 7),
        size=size,
        channels=len(about.mean),
        fit="cover",
        mean=about.mean,
        std=about.std,
        classes=1,
    )
    model = Model(
        backbone=about.backbone,
        kind="single",
        norm=about.norm,
        weights=name,
        pooling="token" if known.tokens else "average",
        head="none",
    )
    stages = models.stages(model.backbone, norm=model.norm)
    # A single network may be cut anywhere.
    model = dataclasses.replace(model, branch=stages[0].name, dim=_features(stages, data))
    return Config(
        data=data,
        model=model,
        objective=(),
        train=Train(steps=0),
        evaluate=Evaluate(batch=BATCH),
    )


def _features(stages: tuple[models.Stage, ...], data: Data) -> int:
    """The channels of the last map."""
    network, images = Stages(stages), jnp.zeros((1, *sides.both(data.size), data.channels))
    last, _ = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images, False))
    return int(last.shape[-1])
