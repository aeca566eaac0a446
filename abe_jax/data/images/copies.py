"""Altered copies of images, as they arise when images are passed on.

Crops to several shares of the area, JPEG at several qualities, blur, and images as if printed and
photographed: less contrast, grain, a slight turn and perspective. The kinds are those of Copydays
(Douze et al., Evaluation of GIST descriptors for web-scale image search, CIVR 2009: crops, JPEG and
"strong" ones, among them print and scan, blur and paint); the numbers are our own choice.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from abe_jax.data.images.decoding import UnreadableImage, pixels
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.data.split import Split

Image = UInt8[np.ndarray, "h w c"]
# px. Larger images are shrunk to it before they are altered, as Copydays' are before JPEG: small
# changes to a large photograph vanish when it is shrunk to a network's input.
LONGEST = 512
PRINT_CONTRAST = 0.6  # of a print: this much of the distance from middle grey is left
PRINT_GRAIN = 12.0  # standard deviation of its grain, in 0..255
PRINT_DEGREES = 5.0  # it is turned by at most so much either way
PRINT_SHIFT = 0.04  # and each corner goes astray by at most this share of the sides


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """A kind of copy and how strong: the unit of `amount` is that of its kind."""

    kind: str  # crop: share of the area | jpeg: quality | blur: share of the shorter side | print
    amount: float = 0.0

    @property
    def name(self) -> str:
        """As the evaluation calls it."""
        if self.kind in ("crop", "blur"):
            return f"{self.kind} {100 * self.amount:g} %"
        return f"{self.kind} {self.amount:g}" if self.kind == "jpeg" else self.kind


ATTACKS = (
    *(Attack(kind="crop", amount=share) for share in (0.7, 0.5, 0.3)),
    *(Attack(kind="jpeg", amount=quality) for quality in (50.0, 15.0, 5.0)),
    *(Attack(kind="blur", amount=share) for share in (0.01, 0.03)),
    Attack(kind="print"),
)


def make(image: Image, attack: Attack, seed: int | Sequence[int]) -> bytes:
    """The copy of an image as an encoded file (of a JPEG attack a JPEG, else a PNG).

    A function of its arguments alone. A crop keeps the aspect and lies anywhere.
    """
    rng = np.random.default_rng(seed)
    if attack.kind == "jpeg":
        return _encoded(image, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, round(attack.amount)))
    if attack.kind == "crop":
        return _encoded(_crop(image, attack.amount, rng), ".png")
    if attack.kind == "blur":
        sigma = attack.amount * min(image.shape[:2])
        blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return _encoded(blurred.reshape(image.shape), ".png")
    assert attack.kind == "print", attack.kind
    return _encoded(_printed(image, rng), ".png")


def _crop(image: Image, share: float, rng: np.random.Generator) -> UInt8[np.ndarray, "i j c"]:
    height, width = (max(1, round(side * share**0.5)) for side in image.shape[:2])
    top = rng.integers(0, image.shape[0] - height, endpoint=True)
    left = rng.integers(0, image.shape[1] - width, endpoint=True)
    return image[top : top + height, left : left + width]


def _printed(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    turned = cv2.warpPerspective(
        image, _view(height, width, rng), (width, height), borderMode=cv2.BORDER_REPLICATE
    ).reshape(image.shape)
    flat = 127.5 + PRINT_CONTRAST * (turned.astype(np.float32) - 127.5)
    grain = rng.normal(0.0, PRINT_GRAIN, (height, width, 1))  # of the paper: alike in all channels
    return np.clip(np.rint(flat + grain), 0, 255).astype(np.uint8)


def _view(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """The homography of a slight turn round the middle, its corners then a little astray."""
    sides = np.array([width, height], np.float64)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * sides[None]
    angle = np.deg2rad(rng.uniform(-PRINT_DEGREES, PRINT_DEGREES))
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    astray = rng.uniform(-PRINT_SHIFT, PRINT_SHIFT, (4, 2)) * sides[None]
    middle = sides[None] / 2
    seen = (corners - middle) @ turn.T + middle + astray
    return cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))


def _encoded(image: Image, kind: str, parameters: Sequence[int] = ()) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.shape[2] == 3 else image
    return cv2.imencode(kind, np.ascontiguousarray(bgr), parameters)[1].tobytes()


class Copies(Sequence[bytes]):
    """Every attack on every chosen image of a split, made when asked for; thread-safe.

    With a attacks, copy i is attack i % a on the chosen image i // a, shrunk to at most LONGEST px
    and seeded by (the image's row, i % a). The copy of an unreadable image is empty.
    """

    def __init__(self, split: Split, rows: Int[np.ndarray, " r"], preprocessing: Preprocessing):
        self._split, self._rows, self._channels = split, rows, preprocessing.channels

    def __len__(self) -> int:
        return len(self._rows) * len(ATTACKS)

    def __getitem__(self, index: int) -> bytes:
        chosen, kind = divmod(range(len(self))[index], len(ATTACKS))
        row = int(self._rows[chosen])
        try:
            image = pixels(self._split.records[row], self._channels)
        except UnreadableImage:
            return b""
        return make(_shrunk(image), ATTACKS[kind], (row, kind))


def _shrunk(image: Image) -> UInt8[np.ndarray, "i j c"]:
    height, width, channels = image.shape
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small.reshape(*size[::-1], channels)


def altered(split: Split, rows: Int[np.ndarray, " r"], preprocessing: Preprocessing) -> Split:
    """The copies of the images `rows`, as a split of their own with the classes of the images."""
    return Split(
        name=f"copies of {split.name}",
        records=Copies(split, rows, preprocessing),
        labels=np.repeat(split.labels[rows], len(ATTACKS)),
        groups=None,
        class_names=split.class_names,
    )
