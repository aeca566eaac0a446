"""What every image goes through, in training and in evaluation alike.

decoding.py gives an image's own pixels; here they become a square of `resize` px, and of that the
crop of `size` px. A JPEG file of at least twice the size that is needed is decoded at a half, a
quarter or an eighth of its own size, never below what is needed, and only then resampled. In
photographs that shifts the pixels of a square by 1 to 3 of 255 levels on average against an image
decoded in full, which at 1,024 px takes twice as long. Other formats, and JPEG files of less than
twice the size, come out as if decoded in full.
"""

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from abe_jax.bounds import Pixels
from abe_jax.data.images import crops, geometry
from abe_jax.data.images.decoding import Reduced, reduced
from abe_jax.data.images.geometry import Placement
from abe_jax.errors import ArgumentError, require

FITS = ("pad", "cover", "stretch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the bytes of an image file become the network's input.

    Raises:
        ArgumentError: values that are out of range or do not fit together.
    """

    resize: int = 256  # px: side of the square that every image becomes
    size: int = 224  # px: side of the crop of it that the network sees
    channels: int = 3  # 1 (grey) or 3 (RGB)
    fit: str = "pad"  # to a square: pad (black) | cover (its middle) | stretch (aspect not kept)
    mean: tuple[float, ...] = ()  # per channel, in units of 0..255; empty: 0
    std: tuple[float, ...] = ()  # likewise; empty: 1

    def __post_init__(self):
        if self.channels not in (1, 3):
            raise ArgumentError("channels", f"{self.channels}, but only 1 (grey) or 3 (colour)")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.channels:
                raise ArgumentError(name, f"{len(values)} values for {self.channels} channels")
        if not min(self.std, default=1.0) > 0:
            raise ArgumentError("std", f"{self.std}, but every value must be above 0")
        least, most = get_args(Pixels)[1:]
        if not least <= self.resize <= most:
            raise ArgumentError(
                "resize", f"{self.resize}, but an image's side has {least:,} to {most:,} px"
            )
        if not 1 <= self.size <= self.resize:
            raise ArgumentError(
                "size",
                f"{self.size}, but a crop of an image of resize={self.resize} px has 1 to "
                f"{self.resize} px",
            )
        require("fit", self.fit, FITS)

    def crop(self, encoded: bytes) -> UInt8[np.ndarray, "size size c"]:
        """`centre` of `decode`: the image as evaluation sees it."""
        return self.centre(self.decode(encoded))

    def decode(self, encoded: bytes) -> UInt8[np.ndarray, "resize resize c"]:
        """The image as RGB or grey, a square of `resize` px.

        By `fit` its aspect ratio is kept and it is padded (`pad`) or only its middle square is
        taken (`cover`), or it is stretched. Shrinking averages over areas, enlarging interpolates
        linearly, and an image of the right size is not resampled.

        Raises:
            UnreadableImage: the bytes are no whole image (see decoding.py).
        """
        return self.square(reduced(encoded, self.channels, self.excess))

    def full(self, encoded: bytes, height: int, width: int) -> UInt8[np.ndarray, "h w c"]:
        """The uncropped image, resampled as in `decode` to a height and width in px.

        Raises:
            UnreadableImage: the bytes are no whole image.
        """

        def excess(*own: int) -> float:
            return min(max(own) / max(height, width), min(own) / min(height, width))

        return crops.resized(reduced(encoded, self.channels, excess).image, width, height)

    def centre(self, image: UInt8[np.ndarray, "side side c"]) -> UInt8[np.ndarray, "size size c"]:
        """The middle `size` px."""
        return crops.middle(image, self.size)

    def normalise(
        self, images: UInt8[Array, "b h w c"], dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Float[Array, "b h w c"]:
        """(x - mean) / std per channel, computed in float32 and returned as `dtype`."""
        mean = jnp.asarray(self.mean or (0.0,), jnp.float32)[None, None, None, :]
        std = jnp.asarray(self.std or (1.0,), jnp.float32)[None, None, None, :]
        return ((images.astype(jnp.float32) - mean) / std).astype(dtype)

    def excess(self, height: int, width: int) -> float:
        """How many times larger than in the square an image of so many px is."""
        longest = self.fit == "pad"
        return (max(height, width) if longest else min(height, width)) / self.resize

    def square(self, image: Reduced) -> UInt8[np.ndarray, "resize resize c"]:
        """The square of a decoded image."""
        part, height, width = self.fitted(image)
        return crops.padded(crops.resized(part, width, height), self.resize)

    def cropped(self, encoded: bytes) -> tuple[UInt8[np.ndarray, "size size c"], Placement]:
        """`crop`, and where the pixels of the file lie in it."""
        image, offset = reduced(encoded, self.channels, self.excess), (self.resize - self.size) // 2
        placed = self.placement(image).then(geometry.moved(-offset, -offset))
        return self.centre(self.square(image)), placed

    def placement(self, image: Reduced) -> Placement:
        """Where the pixels of an image lie in its square."""
        part, height, width = self.fitted(image)
        scaled = geometry.resized(part.shape[0], part.shape[1], height, width)
        left, top = (self.resize - width) // 2, (self.resize - height) // 2
        return self.part_placement(image).then(scaled).then(geometry.moved(left, top))

    def part_placement(self, image: Reduced) -> Placement:
        """Where the pixels of an image lie in the part that `fitted` gives of those decoded."""
        height, width = image.image.shape[:2]
        placed = geometry.resized(image.height, image.width, height, width)
        if self.fit != "cover":
            return placed
        side = min(height, width)
        return placed.then(geometry.moved(-((width - side) // 2), -((height - side) // 2)))

    def fitted(self, image: Reduced) -> tuple[UInt8[np.ndarray, "i j c"], int, int]:
        """The part of an image that the square shows, and the height and width it has there."""
        if self.fit == "cover":
            return crops.middle(image.image, min(image.image.shape[:2])), self.resize, self.resize
        if self.fit == "stretch":
            return image.image, self.resize, self.resize
        scale = self.resize / max(image.height, image.width)
        height, width = (max(1, round(side * scale)) for side in (image.height, image.width))
        return image.image, height, width
