"""What training does to images at random: crops, mirrors and colours."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import autoaugment, colour, crops, geometry
from abe_jax.data.images.decoding import reduced
from abe_jax.data.images.geometry import Placement
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.errors import ArgumentError, require

CROPS = ("plain", "resized")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which random changes training makes to an image; by default only where the crop lies.

    Raises:
        ArgumentError: a value that is out of range.
    """

    padding: int = 0  # px added on each side of the frame before the crop
    crop: str = "plain"  # plain (`size` px) | resized (of any size and aspect, to `size` px)
    crop_scale: tuple[float, ...] = (0.08, 1.0)  # `resized`: least and greatest share of the area
    flip: bool = False  # every other image, on average, is mirrored left to right
    swap_points: bool = True  # `flip`: points of a pair, as left and right sleeve, change places
    policy: str = ""  # autoaugment (ImageNet's); empty: none
    jitter: float = 0.0  # s of brightness, contrast and saturation times 1 - s to 1 + s
    lighting: float = 0.0  # standard deviation of PCA lighting; needs 3 channels

    def __post_init__(self):
        if self.padding < 0:
            raise ArgumentError("padding", f"{self.padding}, but it must be 0 or more")
        require("crop", self.crop, CROPS)
        scale = self.crop_scale
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ArgumentError(
                "crop_scale",
                f"{scale}, but it takes the least and the greatest share of the image's area, "
                "above 0 and at most 1",
            )
        if self.policy:
            require("policy", self.policy, autoaugment.POLICIES)
        if not 0 <= self.jitter <= 1:
            raise ArgumentError("jitter", f"{self.jitter}, but it must be between 0 and 1")
        if not self.lighting >= 0:
            raise ArgumentError("lighting", f"{self.lighting}, but it must be 0 or more")


def check(preprocessing: Preprocessing, augmentation: Augmentation) -> None:
    """Checks that the two fit together.

    Raises:
        ArgumentError: lighting of grey images.
    """
    if augmentation.lighting and preprocessing.channels != 3:
        raise ArgumentError(
            "lighting",
            f"{augmentation.lighting} with channels={preprocessing.channels}, but it shifts red, "
            "green and blue, so it needs 3 channels; grey images take jitter",
        )


class Augmented(NamedTuple):
    """An image for training, where the pixels of its file lie in it, and whether it is mirrored."""

    image: UInt8[np.ndarray, "size size c"]
    placement: Placement
    mirrored: bool


def augmented(
    encoded: bytes,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w c"]:
    """`augment` of the decoded image, but a crop to be resized is cut from the image's own pixels.

    It is then resampled once; its box is the same share of the image, to a pixel of it. Where the
    image is smaller than its frame of `resize` px, and the box than the crop, the image is
    enlarged before it is cut, so that small images too have boxes of all sizes.

    Raises:
        UnreadableImage: the bytes are no whole image.
    """
    return placed(encoded, preprocessing, augmentation, rng).image


def placed(
    encoded: bytes,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Augmented:
    """`augmented`, with where the pixels of the file come to lie."""
    if augmentation.crop == "plain":
        image = reduced(encoded, preprocessing.channels, preprocessing.excess)
        made = _augment(preprocessing.framed(image), preprocessing, augmentation, rng)
        return made._replace(placement=preprocessing.placement(image).then(made.placement))
    shape, frame = preprocessing.shape, preprocessing.frame
    box, mirrored = _drawn(frame, shape, augmentation, rng)
    least = min(box.height / shape[0], box.width / shape[1])
    image = reduced(
        encoded, preprocessing.channels, lambda h, w: preprocessing.excess(h, w) * min(1, least)
    )
    part, height, width = preprocessing.fitted(image)
    own, placement = (part.shape[0], part.shape[1]), preprocessing.part_placement(image)
    if preprocessing.fit == "pad":
        scales = (max(own[0] / frame[0], own[1] / frame[1]),) * 2
    else:
        scales = (own[0] / height, own[1] / width)
    boxed = (box.height * scales[0], box.width * scales[1])
    if min(scales) < 1 and (boxed[0] < shape[0] - 0.5 or boxed[1] < shape[1] - 0.5):
        part, height, width = preprocessing.framed(image), *frame
        placement = preprocessing.placement(image)
        scales = (1.0, 1.0)
    padding = augmentation.padding
    above, before = (frame[0] - height) // 2 + padding, (frame[1] - width) // 2 + padding
    inside = box._replace(top=box.top - above, left=box.left - before)
    made = _finished(part, crops.Cutting(inside, scales, shape), mirrored, augmentation, rng)
    return made._replace(placement=placement.then(made.placement))


def augment(
    image: UInt8[np.ndarray, "h w c"],
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "i j c"]:
    """A random crop of `size` px for training, from the image padded by `padding` px.

    The crop has `size` px, or, as `resized`, a random share of the image and aspect
    (`crops.random_box`) and is resized. With `flip` every other one, on average, is mirrored left
    to right. Then come colours: `policy`, or `jitter` and `lighting` (or all three, in this
    order). The result is a function of the generator's state. Numbers are drawn from it for the
    crop and the mirror, then for those of the three that are on; how many depends neither on the
    image nor on what is done to it.
    """
    return _augment(image, preprocessing, augmentation, rng).image


def _augment(
    image: UInt8[np.ndarray, "i j c"],
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Augmented:
    shape, padding = preprocessing.shape, augmentation.padding
    box, mirrored = _drawn((image.shape[0], image.shape[1]), shape, augmentation, rng)
    inside = box._replace(top=box.top - padding, left=box.left - padding)
    cut = crops.Cutting(inside, (1.0, 1.0), shape)
    return _finished(image, cut, mirrored, augmentation, rng)


def _drawn(
    frame: tuple[int, int],
    shape: tuple[int, int],
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[crops.Box, bool]:
    """Where in the padded frame of an image the crop of `shape` is, and whether mirrored."""
    padded = (frame[0] + 2 * augmentation.padding, frame[1] + 2 * augmentation.padding)
    if augmentation.crop == "resized":
        box = crops.random_box(padded, shape, augmentation.crop_scale, rng)
    else:
        free = (padded[0] - shape[0], padded[1] - shape[1])
        top, left = (int(rng.integers(0, most, endpoint=True)) for most in free)
        box = crops.Box(top, left, *shape)
    return box, bool(rng.random() < 0.5 and augmentation.flip)


def _finished(
    image: UInt8[np.ndarray, "h w c"],
    cut: crops.Cutting,
    mirrored: bool,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Augmented:
    placement = crops.placement(image.shape[:2], cut)
    if mirrored:
        placement = placement.then(geometry.mirrored(cut.shape[1]))
    crop = crops.cut(image, *cut)
    image = np.ascontiguousarray(crop[:, ::-1] if mirrored else crop)
    if augmentation.policy:
        image = autoaugment.augment(image, autoaugment.POLICIES[augmentation.policy], rng)
    if augmentation.jitter:
        image = colour.jitter(image, augmentation.jitter, rng)
    if augmentation.lighting:  # last: normal numbers are drawn by rejection
        image = colour.lighting(image, augmentation.lighting, rng)
    return Augmented(image, placement, mirrored)
