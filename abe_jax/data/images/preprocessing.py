"""What every image goes through, in training and in evaluation alike.

decoding.py gives an image's own pixels; here they become a frame of `resize` px, and of that the
crop of `size` px. Both are squares, or rectangles of a height and a width: where the user names
one number both sides have it, and everything below is the same for both. A JPEG file of at least
twice the size that is needed is decoded at a half, a quarter or an eighth of its own size, never
below what is needed, and only then resampled. In photographs that shifts the pixels of a frame by
1 to 3 of 255 levels on average against an image decoded in full, which at 1,024 px takes twice as
long. Other formats, and JPEG files of less than twice the size, come out as if decoded in full.
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
from abe_jax.data.images.sides import Sides, both, simplest
from abe_jax.errors import ArgumentError, require

FITS = ("pad", "cover", "stretch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the bytes of an image file become the network's input.

    Raises:
        ArgumentError: values that are out of range or do not fit together.
    """

    # Both in px, one number for a square, or height and width.
    resize: Sides = 256  # of the frame that every image becomes
    size: Sides = 224  # of the crop of it that the network sees
    channels: int = 3  # 1 (grey) or 3 (RGB)
    fit: str = "pad"  # to the frame: pad (black) | cover (its middle) | stretch (aspect not kept)
    mean: tuple[float, ...] = ()  # per channel, in units of 0..255; empty: 0
    std: tuple[float, ...] = ()  # likewise; empty: 1

    def __post_init__(self):
        for name in ("resize", "size"):
            object.__setattr__(self, name, simplest(getattr(self, name)))
        if self.channels not in (1, 3):
            raise ArgumentError("channels", f"{self.channels}, but only 1 (grey) or 3 (colour)")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.channels:
                raise ArgumentError(name, f"{len(values)} values for {self.channels} channels")
        if not min(self.std, default=1.0) > 0:
            raise ArgumentError("std", f"{self.std}, but every value must be above 0")
        self._check_sides()
        require("fit", self.fit, FITS)

    def _check_sides(self) -> None:
        least, most = get_args(Pixels)[1:]
        if not all(least <= side <= most for side in self.frame):
            raise ArgumentError(
                "resize", f"{self.resize}, but an image's side has {least:,} to {most:,} px"
            )
        if not all(1 <= own <= side for own, side in zip(self.shape, self.frame, strict=True)):
            high, wide = self.frame
            most_px = f"{high} px" if high == wide else f"{high} px of height and {wide} of width"
            raise ArgumentError(
                "size",
                f"{self.size}, but a crop of an image of resize={self.resize} px has 1 to "
                f"{most_px}",
            )

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of `resize`."""
        return both(self.resize)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of `size`: what the network sees."""
        return both(self.size)

    def crop(self, encoded: bytes) -> UInt8[np.ndarray, "h w c"]:
        """`centre` of `decode`: the image as evaluation sees it."""
        return self.centre(self.decode(encoded))

    def decode(self, encoded: bytes) -> UInt8[np.ndarray, "h w c"]:
        """The image as RGB or grey, a frame of `resize` px.

        By `fit` its aspect ratio is kept and it is padded (`pad`) or only its middle part of the
        frame's aspect is taken (`cover`), or it is stretched. Shrinking averages over areas,
        enlarging interpolates linearly, and an image of the right size is not resampled.

        Raises:
            UnreadableImage: the bytes are no whole image (see decoding.py).
        """
        return self.framed(reduced(encoded, self.channels, self.excess))

    def full(self, encoded: bytes, height: int, width: int) -> UInt8[np.ndarray, "h w c"]:
        """The uncropped image, resampled as in `decode` to a height and width in px.

        Raises:
            UnreadableImage: the bytes are no whole image.
        """

        def excess(*own: int) -> float:
            return min(max(own) / max(height, width), min(own) / min(height, width))

        return crops.resized(reduced(encoded, self.channels, excess).image, width, height)

    def centre(self, image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "i j c"]:
        """The middle `size` px."""
        return crops.middle(image, *self.shape)

    def normalise(
        self, images: UInt8[Array, "b h w c"], dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Float[Array, "b h w c"]:
        """(x - mean) / std per channel, computed in float32 and returned as `dtype`."""
        mean = jnp.asarray(self.mean or (0.0,), jnp.float32)[None, None, None, :]
        std = jnp.asarray(self.std or (1.0,), jnp.float32)[None, None, None, :]
        return ((images.astype(jnp.float32) - mean) / std).astype(dtype)

    def excess(self, height: int, width: int) -> float:
        """How many times larger than in the frame an image of so many px is."""
        choose = max if self.fit == "pad" else min
        return choose(height / self.frame[0], width / self.frame[1])

    def framed(self, image: Reduced) -> UInt8[np.ndarray, "h w c"]:
        """The frame of a decoded image."""
        part, height, width = self.fitted(image)
        return crops.padded(crops.resized(part, width, height), *self.frame)

    def cropped(self, encoded: bytes) -> tuple[UInt8[np.ndarray, "h w c"], Placement]:
        """`crop`, and where the pixels of the file lie in it."""
        image = reduced(encoded, self.channels, self.excess)
        top, left = ((a - b) // 2 for a, b in zip(self.frame, self.shape, strict=True))
        placed = self.placement(image).then(geometry.moved(-left, -top))
        return self.centre(self.framed(image)), placed

    def placement(self, image: Reduced) -> Placement:
        """Where the pixels of an image lie in its frame."""
        part, height, width = self.fitted(image)
        scaled = geometry.resized(part.shape[0], part.shape[1], height, width)
        left, top = (self.frame[1] - width) // 2, (self.frame[0] - height) // 2
        return self.part_placement(image).then(scaled).then(geometry.moved(left, top))

    def part_placement(self, image: Reduced) -> Placement:
        """Where the pixels of an image lie in the part that `fitted` gives of those decoded."""
        height, width = image.image.shape[:2]
        placed = geometry.resized(image.height, image.width, height, width)
        if self.fit != "cover":
            return placed
        high, wide = crops.largest(height, width, self.frame)
        return placed.then(geometry.moved(-((width - wide) // 2), -((height - high) // 2)))

    def fitted(self, image: Reduced) -> tuple[UInt8[np.ndarray, "i j c"], int, int]:
        """The part of an image that the frame shows, and the height and width it has there."""
        if self.fit == "cover":
            height, width = image.image.shape[:2]
            part = crops.largest(height, width, self.frame)
            return crops.middle(image.image, *part), *self.frame
        if self.fit == "stretch":
            return image.image, *self.frame
        scale = min(self.frame[0] / image.height, self.frame[1] / image.width)
        height, width = (max(1, round(side * scale)) for side in (image.height, image.width))
        return image.image, height, width
