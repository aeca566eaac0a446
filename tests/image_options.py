"""Options of preprocessing and of augmentation by their names alone."""

import dataclasses

from abe_jax.data.images.augmentation import Augmentation
from abe_jax.data.images.preprocessing import Preprocessing


def options(**values) -> tuple[Preprocessing, Augmentation]:
    """Both, each with those of the values that are its own."""
    own = {field.name for field in dataclasses.fields(Preprocessing)}
    preprocessing = Preprocessing(**{k: v for k, v in values.items() if k in own})
    return preprocessing, Augmentation(**{k: v for k, v in values.items() if k not in own})
