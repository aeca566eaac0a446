"""Where each learner looks in one image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from abe_jax.config import Config
from abe_jax.data import uncropped
from abe_jax.data.images import preprocessing
from abe_jax.evaluation.masks import masks
from abe_jax.report import pixels
from abe_jax.serving import thumbnails
from abe_jax.training import step

SIDE = 224  # pixels of a map's longer side

Look = Callable[[UInt8[np.ndarray, "h w c"]], Float[np.ndarray, "m i j"]]


def seen(encoded: bytes, config: Config) -> UInt8[np.ndarray, "h w c"]:
    """The image as the network sees it in evaluation; raises `images.UnreadableImage`."""
    if not config.evaluate.longest:
        return preprocessing.centre(preprocessing.decode(encoded, config.data), config.data)
    height, width, _ = preprocessing.pixels(encoded, config.data).shape
    shape = uncropped.scaled(height, width, config.evaluate.longest, config.evaluate.side_step)
    return preprocessing.whole(encoded, config.data, *shape)


def looks(config: Config, state: step.TrainState) -> Look | None:
    """Each learner's mask over an image, averaged over its channels; None without masks.

    `state` is replicated.
    """
    if config.model.kind != "attention":
        return None
    compiled = step.mask_step(config)

    def look(image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "m i j"]:
        return masks(state, compiled, image[None])[0].mean(axis=-1, dtype=np.float32)

    return look


def drawn(image: UInt8[np.ndarray, "h w c"], looked: Float[np.ndarray, "m i j"]) -> dict[str, Any]:
    """The masks that `look` gave as pictures, on one scale, and their differences on another.

    A difference is a learner's mask less the mean over the learners; one learner has none.
    """
    low, high = float(looked.min()), float(looked.max())
    found = {"masks": _maps(image, looked, low, high, relative=False)}
    if len(looked) > 1:
        apart = looked - looked.mean(axis=0, keepdims=True)
        reach = float(np.abs(apart).max())
        found["differences"] = _maps(image, apart, -reach, reach, relative=True)
    return found


def _maps(
    image: np.ndarray, values: np.ndarray, low: float, high: float, *, relative: bool
) -> dict[str, Any]:
    colours = pixels.DIFFERENCE if relative else pixels.MASK
    heats = [
        pixels.heat(image, mask, low=low, high=high, colours=colours, side=SIDE) for mask in values
    ]
    return {
        "low": low,
        "high": high,
        "scale": pixels.data_uri(pixels.scale_bar(colours)),
        "learners": [
            {"image": thumbnails.data_uri(heat), "low": float(one.min()), "high": float(one.max())}
            for heat, one in zip(heats, values, strict=True)
        ],
    }
