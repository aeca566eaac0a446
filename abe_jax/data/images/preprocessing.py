"""From encoded bytes to the pixels that the network sees.

decoding.py gives a picture's own pixels; here they become a square of `data.resize` px, and of that
the crop of `data.size` px. A JPEG file of at least twice the size that is needed is decoded at a
half, a quarter or an eighth of its own size, never below what is needed, and only then resampled,
in training and in evaluation alike. In photographs that shifts the pixels of a square by 1 to 3 of
255 levels on average against a picture decoded in full, which at 1,024 px takes twice as long.
Other formats, and JPEG files of less than twice the size, are seen as if decoded in full.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from abe_jax.config import Data
from abe_jax.data.images import autoaugment, colour, crops
from abe_jax.data.images.decoding import PADDING_COLOUR, Reduced, UnreadableImage, pixels, reduced
from abe_jax.errors import UserError, nearest

__all__ = [
    "PADDING_COLOUR",
    "UnreadableImage",
    "augment",
    "centre",
    "check",
    "decode",
    "normalise",
    "pixels",
    "training",
    "whole",
]

_FITS = ("pad", "cover", "stretch")
_CROPS = ("plain", "resized")


def check(data: Data) -> None:
    """Raises `UserError` when sizes, channels and choices of the config do not fit together."""
    if data.channels not in (1, 3):
        raise UserError(f"config.data.channels is {data.channels}: 1 (grey) or 3 (colour)")
    for name, values in (("mean", data.mean), ("std", data.std)):
        if values and len(values) != data.channels:
            raise UserError(
                f"config.data.{name} has {len(values)} values for {data.channels} channels"
            )
    if not min(data.std, default=1.0) > 0:
        raise UserError(f"config.data.std is {data.std}: every value must be above 0")
    if not 1 <= data.size <= data.resize:
        raise UserError(
            f"config.data.size is {data.size}: a crop of a picture of config.data.resize "
            f"= {data.resize} px has 1 to {data.resize} px"
        )
    if data.padding < 0:
        raise UserError(f"config.data.padding is {data.padding}: 0 or more")
    for name, chosen, known in (("fit", data.fit, _FITS), ("crop", data.crop, _CROPS)):
        if chosen not in known:
            raise UserError(f"config.data.{name} is {chosen!r}: {nearest(chosen, known)}")
    scale = data.crop_scale
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise UserError(
            f"config.data.crop_scale is {scale}: the least and the greatest share of the "
            "picture's area, above 0 and at most 1"
        )
    if data.policy and data.policy not in autoaugment.POLICIES:
        known = nearest(data.policy, autoaugment.POLICIES)
        raise UserError(f"config.data.policy is {data.policy!r}: {known}")
    if data.lighting and data.channels != 3:
        raise UserError(
            f"config.data.lighting is {data.lighting} and config.data.channels {data.channels}: "
            "it shifts red, green and blue, so it needs 3 channels; grey pictures take jitter"
        )


def decode(encoded: bytes, data: Data) -> UInt8[np.ndarray, "resize resize c"]:
    """The picture as RGB or grey, a square of `data.resize` px.

    By `data.fit` its aspect ratio is kept and it is padded (`pad`) or only its middle square is
    taken (`cover`), or it is stretched. Shrinking averages over areas, enlarging interpolates
    linearly, and a picture of the right size is not resampled. `pixels` says what it may be.
    Raises `UnreadableImage` for what cannot be decoded whole.
    """
    return _squared(reduced(encoded, data, lambda h, w: _scale(h, w, data)), data)


def _scale(height: int, width: int, data: Data) -> float:
    """How many times larger than in the square of `data.resize` px the picture is."""
    longest = data.fit == "pad"
    return (max(height, width) if longest else min(height, width)) / data.resize


def _squared(found: Reduced, data: Data) -> UInt8[np.ndarray, "side side c"]:
    seen, height, width = _fitted(found, data)
    return crops.placed(crops.resized(seen, width, height), data.resize)


def _fitted(found: Reduced, data: Data) -> tuple[UInt8[np.ndarray, "i j c"], int, int]:
    """What of the picture comes into the square, and its height and width there."""
    if data.fit == "cover":
        middle = crops.middle(found.image, min(found.image.shape[:2]))
        return middle, data.resize, data.resize
    if data.fit == "stretch":
        return found.image, data.resize, data.resize
    scale = data.resize / max(found.height, found.width)
    height, width = (max(1, round(side * scale)) for side in (found.height, found.width))
    return found.image, height, width


def whole(encoded: bytes, data: Data, height: int, width: int) -> UInt8[np.ndarray, "h w c"]:
    """All of the picture, resampled as in `decode` to the height and width that whole.py chose."""

    def spare(*own: int) -> float:
        return min(max(own) / max(height, width), min(own) / min(height, width))

    return crops.resized(reduced(encoded, data, spare).image, width, height)


def training(
    encoded: bytes, data: Data, rng: np.random.Generator
) -> UInt8[np.ndarray, "size size c"]:
    """`augment` of `decode`, but a crop to be resized is cut from the picture's own pixels.

    It is then resampled once; its box is the same share of the picture, to a pixel of it. Where
    the picture is smaller than its square of `data.resize` px, and the box than the crop, the
    picture is enlarged before it is cut, so that small pictures too have boxes of all sizes.
    """
    if data.crop == "plain":
        return augment(decode(encoded, data), data, rng)
    box, mirrored = _drawn(data.resize, data, rng)
    least = min(box.height, box.width) / data.size
    found = reduced(encoded, data, lambda h, w: _scale(h, w, data) * min(1, least))
    seen, height, width = _fitted(found, data)
    if data.fit == "pad":
        scales = (max(seen.shape[:2]) / data.resize,) * 2
    else:
        scales = (seen.shape[0] / height, seen.shape[1] / width)
    if min(scales) < 1 and min(box.height * scales[0], box.width * scales[1]) < data.size - 0.5:
        seen, height, width = _squared(found, data), data.resize, data.resize
        scales = (1.0, 1.0)
    above, before = ((data.resize - side) // 2 + data.padding for side in (height, width))
    inside = box._replace(top=box.top - above, left=box.left - before)
    return _finished(crops.cut(seen, inside, scales, data.size), mirrored, data, rng)


def augment(
    image: UInt8[np.ndarray, "side side c"], data: Data, rng: np.random.Generator
) -> UInt8[np.ndarray, "size size c"]:
    """A random crop of `data.size` px for training, from the picture padded by `data.padding` px.

    The crop has `data.size` px, or, as `resized`, a random share of the picture and aspect
    (`crops.random_box`) and is resized. With `data.flip` every other one, on average, is mirrored
    left to right. Then come colours: `data.policy`, or `data.jitter` and `data.lighting` (or all
    three, in this order). The result is a function of the generator's state. Numbers are taken
    from it for the crop and the mirror, then for those of the three that are on; how many depends
    neither on the picture nor on what is done to it.
    """
    box, mirrored = _drawn(len(image), data, rng)
    inside = box._replace(top=box.top - data.padding, left=box.left - data.padding)
    return _finished(crops.cut(image, inside, (1.0, 1.0), data.size), mirrored, data, rng)


def _drawn(side: int, data: Data, rng: np.random.Generator) -> tuple[crops.Box, bool]:
    """Where in the padded square of a picture of `side` px the crop is, and whether mirrored."""
    padded = side + 2 * data.padding
    if data.crop == "resized":
        box = crops.random_box(padded, data.crop_scale, rng)
    else:
        top, left = rng.integers(0, padded - data.size, size=2, endpoint=True)
        box = crops.Box(int(top), int(left), data.size, data.size)
    return box, bool(rng.random() < 0.5 and data.flip)


def _finished(
    crop: UInt8[np.ndarray, "size size c"], mirrored: bool, data: Data, rng: np.random.Generator
) -> UInt8[np.ndarray, "size size c"]:
    return _recoloured(np.ascontiguousarray(crop[:, ::-1] if mirrored else crop), data, rng)


def _recoloured(image: np.ndarray, data: Data, rng: np.random.Generator) -> np.ndarray:
    if data.policy:
        image = autoaugment.augment(image, autoaugment.POLICIES[data.policy], rng)
    if data.jitter:
        image = colour.jitter(image, data.jitter, rng)
    if data.lighting:  # last: normal numbers are drawn by rejection
        image = colour.lighting(image, data.lighting, rng)
    return image


def centre(image: UInt8[np.ndarray, "side side c"], data: Data) -> UInt8[np.ndarray, "size size c"]:
    """The middle `data.size` px, as evaluation sees every picture."""
    return crops.middle(image, data.size)


def normalise(
    images: UInt8[Array, "b h w c"], data: Data, dtype: jax.typing.DTypeLike
) -> Float[Array, "b h w c"]:
    """(x - mean) / std per channel, computed in float32 and returned as `dtype`.

    Where the config leaves them empty, mean is 0 and std 1.
    """
    mean = jnp.asarray(data.mean or (0.0,), jnp.float32)[None, None, None, :]
    std = jnp.asarray(data.std or (1.0,), jnp.float32)[None, None, None, :]
    return ((images.astype(jnp.float32) - mean) / std).astype(dtype)
