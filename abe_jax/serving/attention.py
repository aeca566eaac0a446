"""Where each learner looks in one image."""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from abe_jax.data import uncropped
from abe_jax.data.images import decoding
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Network
from abe_jax.report import pixels
from abe_jax.serving import thumbnails

SIDE = 224  # pixels of a map's longer side


def preprocessed(network: Network, encoded: bytes) -> UInt8[np.ndarray, "h w c"]:
    """The image as the network sees it in evaluation.

    Raises:
        UnreadableImage: the bytes are no image that can be read.
    """
    if not network.longest:
        return network.preprocessing.crop(encoded)
    height, width, _ = decoding.pixels(encoded, network.preprocessing.channels).shape
    size = uncropped.scaled(height, width, network.longest, network.side_step)
    return network.preprocessing.full(encoded, *size)


def mean_masks(
    embedder: Embedder, image: UInt8[np.ndarray, "h w c"]
) -> Float[np.ndarray, "m i j"] | None:
    """Each learner's mask over a preprocessed image, averaged over its channels.

    None of a network without attention.
    """
    if embedder.network.model.kind != "attention":
        return None
    return embedder.masks(image[None])[0].mean(axis=-1, dtype=np.float32)


def pictures(
    image: UInt8[np.ndarray, "h w c"], masks: Float[np.ndarray, "m i j"]
) -> dict[str, Any]:
    """The learners' masks as pictures, on one scale, and their differences on another.

    A difference is a learner's mask less the mean over the learners; one learner has none.
    """
    low, high = float(masks.min()), float(masks.max())
    drawn = {"masks": _heats(image, masks, low, high, relative=False)}
    if len(masks) > 1:
        differences = masks - masks.mean(axis=0, keepdims=True)
        reach = float(np.abs(differences).max())
        drawn["differences"] = _heats(image, differences, -reach, reach, relative=True)
    return drawn


def _heats(
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
