"""What a config leaves to the data and the weights, filled in when a run begins."""

import dataclasses

from abe_jax.config import Config
from abe_jax.data import datasets


def resolved(config: Config) -> Config:
    """The config with the number of training classes, where it leaves it open."""
    data = config.data
    if not data.classes:
        classes = len(datasets.load(data, "train").class_names)
        data = dataclasses.replace(data, classes=classes)
    return dataclasses.replace(config, data=data)
