"""AutoAugment's policy for ImageNet (Cubuk et al., CVPR 2019, arXiv 1805.09501, appendix)."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from abe_jax.data.images import colour

# The level of the corners that a rotated or sheared image leaves empty: nearly ImageNet's mean, so
# that they say least after normalisation, and MultiGrain's choice. Black (decoding.PADDING_COLOUR)
# means "beside the image" in the evaluation as well, where nothing is ever rotated.
CORNER_LEVEL = 128

Part = tuple[str, float, int]  # operation, probability, magnitude 0..9

# The paper's table of 25 sub-policies, repetitions included: they weigh a sub-policy double. The
# same 25 are in torchvision's. MultiGrain's public list has the first 24 of them.
IMAGENET: tuple[tuple[Part, Part], ...] = (
    (("posterise", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarise", 0.6, 5), ("auto_contrast", 0.6, 5)),
    (("equalise", 0.8, 8), ("equalise", 0.6, 3)),
    (("posterise", 0.6, 7), ("posterise", 0.6, 6)),
    (("equalise", 0.4, 7), ("solarise", 0.2, 4)),
    (("equalise", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarise", 0.6, 3), ("equalise", 0.6, 7)),
    (("posterise", 0.8, 5), ("equalise", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarise", 0.6, 8)),
    (("equalise", 0.6, 8), ("posterise", 0.4, 6)),
    (("rotate", 0.8, 8), ("saturation", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalise", 0.6, 2)),
    (("equalise", 0.0, 7), ("equalise", 0.8, 8)),
    (("invert", 0.6, 4), ("equalise", 1.0, 8)),
    (("saturation", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("saturation", 1.0, 2)),
    (("saturation", 0.8, 8), ("solarise", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalise", 1.0, 9)),
    (("saturation", 0.4, 0), ("equalise", 0.6, 3)),
    (("equalise", 0.4, 7), ("solarise", 0.2, 4)),
    (("solarise", 0.6, 5), ("auto_contrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalise", 1.0, 8)),
    (("saturation", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalise", 0.8, 8), ("equalise", 0.6, 3)),
)

POLICIES = {"autoaugment": IMAGENET}


def augment(
    image: UInt8[np.ndarray, "h w c"],
    policy: tuple[tuple[Part, Part], ...],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w c"]:
    """A random sub-policy of `policy`: two operations, each done or not, one after the other.

    The paper prints a range for each operation, ten values in it, and not which end is which. As
    in MultiGrain's list and torchvision's, a larger magnitude changes more (see OPERATIONS), and
    an operation with two directions takes either; so `saturation` of magnitude 0 does nothing.
    (MultiGrain's rotations all turn one way; these do not.) Five numbers are taken from the
    generator whatever is done.
    """
    choice, *rest = rng.random(5)
    chances, signs = rest[:2], rest[2:]
    parts = policy[int(choice * len(policy))]
    for (name, probability, magnitude), chance, sign in zip(parts, chances, signs, strict=True):
        if chance < probability:
            operation = OPERATIONS[name]
            direction = -1 if operation.signed and sign < 0.5 else 1
            image = operation.apply(image, direction * operation.strength(magnitude))
    return image


def rotate(image: UInt8[np.ndarray, "h w c"], degrees: float) -> UInt8[np.ndarray, "h w c"]:
    """Turned about its middle, anticlockwise where `degrees` are above 0, bilinearly."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return _warped(image, matrix, cv2.INTER_LINEAR)


def shear_x(image: UInt8[np.ndarray, "h w c"], slope: float) -> UInt8[np.ndarray, "h w c"]:
    """Row y moved left by slope * y px, the upper edge staying where it is, bilinearly."""
    matrix = np.array([[1, slope, slope / 2], [0, 1, 0]])  # from the edge to the pixels' middles
    return _warped(image, matrix, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def invert(image: UInt8[np.ndarray, "h w c"], _: float = 0) -> UInt8[np.ndarray, "h w c"]:
    """255 - x."""
    return 255 - image


def solarise(image: UInt8[np.ndarray, "h w c"], threshold: float) -> UInt8[np.ndarray, "h w c"]:
    """255 - x where x is the threshold or more."""
    return np.where(image < threshold, image, 255 - image)


def posterise(image: UInt8[np.ndarray, "h w c"], bits: float) -> UInt8[np.ndarray, "h w c"]:
    """Only the highest bits of every value, `bits` rounded to a whole number."""
    return image & np.uint8(256 - 2 ** (8 - round(bits)))


def auto_contrast(image: UInt8[np.ndarray, "h w c"], _: float = 0) -> UInt8[np.ndarray, "h w c"]:
    """Each channel stretched to the whole of 0..255; a channel of one value stays."""
    low = image.min((0, 1)).astype(np.float32)
    span = image.max((0, 1)) - low
    stretched = (image - low) * (255 / np.maximum(span, 1))
    return np.where(span > 0, np.rint(stretched).astype(np.uint8), image)


def equalise(image: UInt8[np.ndarray, "h w c"], _: float = 0) -> UInt8[np.ndarray, "h w c"]:
    """Each channel by its histogram: x becomes (q / 2 + number below x) / q, in whole numbers.

    q = (number of pixels - number of the brightest) // 255; a channel whose q is 0 stays. This is
    Pillow's definition, whose operations the paper uses.
    """
    channels = [_equalised(image[..., channel]) for channel in range(image.shape[2])]
    return np.stack(channels, axis=2)


def sharpness(image: UInt8[np.ndarray, "h w c"], change: float) -> UInt8[np.ndarray, "h w c"]:
    """s + (1 + change) (x - s), where s is smoothed by (1 1 1; 1 5 1; 1 1 1) / 13.

    The outermost pixels, which lack neighbours, stay as they are.
    """
    kernel = np.ones((3, 3), np.float32)
    kernel[1, 1] = 5
    pixels = image.astype(np.float32)
    smooth = pixels.copy()
    filtered = cv2.filter2D(pixels, -1, kernel / 13).reshape(pixels.shape)
    smooth[1:-1, 1:-1] = np.rint(filtered[1:-1, 1:-1])
    return colour.rounded(np.clip(smooth + np.float32(1 + change) * (pixels - smooth), 0, 255))


def contrast(image: UInt8[np.ndarray, "h w c"], change: float) -> UInt8[np.ndarray, "h w c"]:
    """`colour.contrast` by the factor 1 + change."""
    return colour.rounded(colour.contrast(image.astype(np.float32), 1 + change))


def saturation(image: UInt8[np.ndarray, "h w c"], change: float) -> UInt8[np.ndarray, "h w c"]:
    """`colour.saturation` by the factor 1 + change; the paper's operation Color."""
    return colour.rounded(colour.saturation(image.astype(np.float32), 1 + change))


class Operation(NamedTuple):
    """What is done, its strength at magnitudes 0 and 9, and whether it has two directions."""

    apply: Callable[[np.ndarray, float], np.ndarray]
    weakest: float = 0
    strongest: float = 0
    signed: bool = False

    def strength(self, magnitude: int) -> float:
        """That of one of ten magnitudes, evenly between the two ends."""
        return self.weakest + (self.strongest - self.weakest) * (magnitude / 9)


# Those of the paper's operations that its policy for ImageNet uses, with the paper's ranges.
OPERATIONS = {
    "shear_x": Operation(shear_x, 0, 0.3, signed=True),
    "rotate": Operation(rotate, 0, 30, signed=True),
    "auto_contrast": Operation(auto_contrast),
    "invert": Operation(invert),
    "equalise": Operation(equalise),
    "solarise": Operation(solarise, 256, 0),
    "posterise": Operation(posterise, 8, 4),
    "contrast": Operation(contrast, 0, 0.9, signed=True),
    "saturation": Operation(saturation, 0, 0.9, signed=True),
    "sharpness": Operation(sharpness, 0, 0.9, signed=True),
}


def _warped(image: np.ndarray, matrix: np.ndarray, flags: int) -> np.ndarray:
    size = (image.shape[1], image.shape[0])
    corners = (CORNER_LEVEL,) * 4
    return cv2.warpAffine(image, matrix, size, flags=flags, borderValue=corners).reshape(
        image.shape
    )


def _equalised(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.reshape(-1), minlength=256)
    quantum = (channel.size - counts[channel.max()]) // 255
    if quantum == 0:
        return channel
    below = np.cumsum(counts) - counts
    table = np.minimum((quantum // 2 + below) // quantum, 255).astype(np.uint8)
    return table[channel]
