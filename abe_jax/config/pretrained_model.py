"""The configuration of a network of weights that others trained, with nothing trained on top."""

import dataclasses

import jax
import jax.numpy as jnp

from abe_jax import models, pretrained
from abe_jax.config.schema import Config, Data, Evaluate, Model
from abe_jax.models.backbones.stages import Stages
from abe_jax.models.backbones.table import backbone
from abe_jax.training import Train

BATCH = 32  # images embedded at once; also the work of a search for one


def pretrained_model(about: pretrained.About, name: str) -> Config:
    """One learner: the pooled last map itself, of images as such weights are tested on.

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
    network, images = Stages(stages), jnp.zeros((1, data.size, data.size, data.channels))
    last, _ = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images, False))
    return int(last.shape[-1])
