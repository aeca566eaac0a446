"""A network of weights that others trained, with nothing trained on top."""

import dataclasses

import jax
import jax.numpy as jnp

from abe_jax import models, pretrained
from abe_jax.config import build
from abe_jax.config.parse import to_mapping
from abe_jax.config.schema import Config, Data, Evaluate, Model
from abe_jax.data.images import sides
from abe_jax.evaluation.embedder import Embedder
from abe_jax.models.backbones.stages import Stages
from abe_jax.models.backbones.table import backbone
from abe_jax.training import Train

BATCH = 32  # images embedded at once; also the work of a search for one


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
