"""Pixels made ready to be shown: scaled, coloured, encoded."""

import base64
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from abe_jax.report import palette

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

TILE = 112  # pixels of a picture's longer side in the HTML, twice what is shown, for sharp screens
SMALL = 48  # pictures up to this side are kept to the pixel
JPEG_QUALITY = 80

MASK, DIFFERENCE = "mask", "difference"  # the colours of a mask, and of one less another


def rgb(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image with three channels; one channel is grey."""
    if image.shape[2] not in (1, 3):
        raise ValueError(f"an image to show has 1 or 3 channels, not {image.shape[2]}")
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def fitted(image: UInt8[np.ndarray, "h w c"], side: int) -> UInt8[np.ndarray, "a b 3"]:
    """The image scaled so that its longer side is `side`, its aspect kept."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb(image), size, interpolation=shrinks), np.uint8)


def png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """The image as PNG, without a date, so that equal pixels give equal bytes."""
    return _encoded(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def jpeg(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """The image as JPEG."""
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def data_uri(image: UInt8[np.ndarray, "h w c"]) -> str:
    """The image inside a `src`: small ones to the pixel as PNG, others as JPEG of TILE pixels."""
    if max(image.shape[:2]) <= SMALL:
        kind, data = "png", png(image)
    else:
        small = fitted(image, min(TILE, max(image.shape[:2])))
        kind, data = "jpeg", jpeg(small)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    reordered = image[:, :, ::-1] if image.shape[2] == 3 else image  # OpenCV writes BGR
    done, data = cv2.imencode(suffix, np.ascontiguousarray(reordered), options)
    if not done:
        raise ValueError(f"the image of shape {image.shape} could not be encoded")
    return data.tobytes()


def heat(
    image: UInt8[np.ndarray, "h w c"],
    mask: Float[np.ndarray, "i j"],
    *,
    low: float,
    high: float,
    colours: str = MASK,
    side: int = TILE,
) -> UInt8[np.ndarray, "a b 3"]:
    """The mask in colour, scaled up to the picture, with the image's own outlines drawn over it.

    `colours` are MASK or DIFFERENCE, `low` and `high` the values at their two ends, `side` the
    pixels of the picture's longer side. Only outlines are drawn over the colours, so that these can
    still be read against their scale.
    """
    under = fitted(image, side)
    size = (under.shape[1], under.shape[0])
    values = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    spread = high - low if high > low else 1.0
    coloured = _colormap(colours)(np.clip((values - low) / spread, 0, 1))[:, :, :3] * 255
    edges = outlines(under)
    dark = coloured.mean(axis=2) < 110
    line = np.where(dark, 255.0, 0.0)[:, :, None]
    strength = np.where(edges, 0.55, 0.0)[:, :, None]
    return np.round(coloured * (1 - strength) + line * strength).astype(np.uint8)


def multiplied(
    image: UInt8[np.ndarray, "h w c"], mask: Float[np.ndarray, "i j"], *, side: int = TILE
) -> UInt8[np.ndarray, "a b 3"]:
    """The image times the mask, which is scaled up to it and cut to 0..1; longer side `side`."""
    under = fitted(image, side)
    size = (under.shape[1], under.shape[0])
    values = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.round(under * np.clip(values, 0, 1)[:, :, None]).astype(np.uint8)


def outlines(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Where the image has strong edges."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.2)
    return cv2.Canny(grey, 60, 140) > 0


def scale_bar(colours: str) -> UInt8[np.ndarray, "1 128 3"]:
    """The colours (MASK or DIFFERENCE) from low to high, one pixel high."""
    return np.round(_colormap(colours)(np.linspace(0, 1, 128))[None, :, :3] * 255).astype(np.uint8)


@cache
def _colormap(colours: str) -> "Colormap":
    # Here, since matplotlib takes longer to import than a search takes to be answered.
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    if colours == MASK:
        return colormaps["viridis"]
    ends = palette.light("orange"), palette.light("blue")
    return LinearSegmentedColormap.from_list(DIFFERENCE, [ends[0], "#f7f6f2", ends[1]])
