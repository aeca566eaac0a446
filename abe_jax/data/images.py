"""From encoded bytes to the pixels that the network sees."""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from abe_jax.config import Data, nearest
from abe_jax.data import autoaugment, colour
from abe_jax.errors import UserError

PADDING_COLOUR = 0  # black, in every channel: beside a picture, round a crop, under transparency

# OpenCV tells of damaged files on stderr; here they are counted and named instead.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_FITS = ("pad", "cover", "stretch")
_CROPS = ("plain", "resized")
_LOG_ASPECT = math.log(4 / 3)  # at most, either way: width to height of crops to be resized
_TRIES = 10

_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"


class UnreadableImage(Exception):  # noqa: N818 (an outcome that the loader counts, not a failure)
    """The bytes are no whole image that OpenCV can decode."""


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
    linearly, and a picture of the right size is not resampled. 16 bits become 8; transparency
    shows PADDING_COLOUR; a JPEG's own orientation is obeyed. Raises `UnreadableImage` for what
    cannot be decoded whole.
    """
    image = pixels(encoded, data)
    if data.fit == "cover":
        image = _middle(image, min(image.shape[:2]))
    height, width = image.shape[:2]
    scale = data.resize / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if data.fit == "stretch":
        size = (data.resize, data.resize)
    image = _resized(image, *size)
    return _placed(image.reshape(*image.shape[:2], data.channels), data.resize)


def pixels(encoded: bytes, data: Data) -> UInt8[np.ndarray, "h w c"]:
    """The picture as it is stored, RGB or grey, upright; `decode` says what it may be."""
    image = _jpeg(encoded, data) if encoded.startswith(_JPEG) else _other(encoded, data)
    return image.reshape(*image.shape[:2], data.channels)


def whole(encoded: bytes, data: Data, height: int, width: int) -> UInt8[np.ndarray, "h w c"]:
    """All of the picture, resampled as in `decode` to the height and width that whole.py chose."""
    image = _resized(pixels(encoded, data), width, height)
    return image.reshape(height, width, data.channels)


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def _placed(image: np.ndarray, side: int) -> np.ndarray:
    height, width, channels = image.shape
    if height == width == side:
        return image
    square = np.full((side, side, channels), PADDING_COLOUR, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square


def _jpeg(encoded: bytes, data: Data) -> np.ndarray:
    # OpenCV 4 fills what is missing of a truncated JPEG with grey (5 refuses it). The end marker
    # cannot occur inside the picture's data, but can in a thumbnail, which comes early.
    if encoded.rfind(_JPEG_END) < len(encoded) // 2:
        raise UnreadableImage("a JPEG file that ends too early")
    if data.channels == 1:
        return _imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    return cv2.cvtColor(_imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _other(encoded: bytes, data: Data) -> np.ndarray:
    image = _imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise UnreadableImage(f"pixels of type {image.dtype}")
    image = image.reshape(*image.shape[:2], -1)
    if image.shape[2] in (2, 4):
        image = _without_alpha(image)
    if image.shape[2] == data.channels:
        return image if data.channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if data.channels == 3 else cv2.COLOR_BGR2GRAY)


def _without_alpha(image: np.ndarray) -> np.ndarray:
    alpha = image[..., -1:].astype(np.float32) / 255
    mixed = image[..., :-1] * alpha + PADDING_COLOUR * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    if not encoded:
        raise UnreadableImage("an empty file")
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise UnreadableImage(error.err) from error
    if image is None:
        raise UnreadableImage("no format that OpenCV knows, or not whole")
    return image


def augment(
    image: UInt8[np.ndarray, "side side c"], data: Data, rng: np.random.Generator
) -> UInt8[np.ndarray, "size size c"]:
    """A random crop of `data.size` px for training, from the picture padded by `data.padding` px.

    The crop has `data.size` px, or, as `resized`, a random share of the picture and aspect (see
    `_random_box`) and is resized. With `data.flip` every other one, on average, is mirrored left
    to right. Then come colours: `data.policy`, or `data.jitter` and `data.lighting` (or all three,
    in this order). The result is a function of the generator's state. Numbers are taken from it
    for the crop and the mirror, then for those of the three that are on; how many depends neither
    on the picture nor on what is done to it.
    """
    padded = _placed(image, len(image) + 2 * data.padding)
    if data.crop == "resized":
        top, left, height, width = _random_box(len(padded), data.crop_scale, rng)
    else:
        height = width = data.size
        top, left = rng.integers(0, len(padded) - data.size, size=2, endpoint=True)
    mirrored = rng.random() < 0.5 and data.flip
    crop = _resized(padded[top : top + height, left : left + width], data.size, data.size)
    crop = crop.reshape(data.size, data.size, -1)
    return _recoloured(np.ascontiguousarray(crop[:, ::-1] if mirrored else crop), data, rng)


def _recoloured(image: np.ndarray, data: Data, rng: np.random.Generator) -> np.ndarray:
    if data.policy:
        image = autoaugment.augment(image, autoaugment.POLICIES[data.policy], rng)
    if data.jitter:
        image = colour.jitter(image, data.jitter, rng)
    if data.lighting:  # last: normal numbers are drawn by rejection
        image = colour.lighting(image, data.lighting, rng)
    return image


def _random_box(
    side: int, scale: tuple[float, ...], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop whose area is a uniform share of a square picture.

    The aspect is log-uniform between 3/4 and 4/3 (Szegedy et al., CVPR 2015, section 6). The
    first of ten draws that fits into the picture is taken, or else the whole picture.
    """
    shares = rng.uniform(scale[0], scale[1], _TRIES)
    aspects = np.exp(rng.uniform(-_LOG_ASPECT, _LOG_ASPECT, _TRIES))
    place = rng.random(2)
    widths = np.rint(side * np.sqrt(shares * aspects)).astype(int)
    heights = np.rint(side * np.sqrt(shares / aspects)).astype(int)
    fitting = np.flatnonzero((widths <= side) & (heights <= side))
    if not len(fitting):
        return 0, 0, side, side
    height, width = max(1, int(heights[fitting[0]])), max(1, int(widths[fitting[0]]))
    top, left = (place * (side + 1 - np.array([height, width]))).astype(int).tolist()
    return top, left, height, width


def centre(image: UInt8[np.ndarray, "side side c"], data: Data) -> UInt8[np.ndarray, "size size c"]:
    """The middle `data.size` px, as evaluation sees every picture."""
    return _middle(image, data.size)


def normalise(
    images: UInt8[Array, "b h w c"], data: Data, dtype: jax.typing.DTypeLike
) -> Float[Array, "b h w c"]:
    """(x - mean) / std per channel, computed in float32 and returned as `dtype`.

    Where the config leaves them empty, mean is 0 and std 1.
    """
    mean = jnp.asarray(data.mean or (0.0,), jnp.float32)[None, None, None, :]
    std = jnp.asarray(data.std or (1.0,), jnp.float32)[None, None, None, :]
    return ((images.astype(jnp.float32) - mean) / std).astype(dtype)
