"""What of an image each learner lets through: the image times its mask, of one channel and of all.

The pictures of a mask's channel in the talk on ABE-M (Kim et al., ECCV 2018) are of this kind.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from abe_jax.report import palette, pixels
from abe_jax.report.figures import layout
from abe_jax.report.figures.canvas import Canvas, canvas

ROWS = 4  # images, each with a line of one channel and a line of the mean over channels
GAP, LEFT, LINE, SAID = 0.03, 0.13, 0.12, 0.13  # inches
LARGEST = 0.75  # inches of an image's side
PIXELS = 256  # of a picture's side


def products(
    images: UInt8[np.ndarray, "s h w c"], masks: Float[np.ndarray, "s m i j"]
) -> UInt8[np.ndarray, "s m a b 3"]:
    """Each image times each learner's mask, scaled up to it, over the largest value of all masks.

    The division makes the masks' largest value let an image through as it is; the products keep
    their proportions within and between images and learners.
    """
    most = float(masks.max(initial=0.0)) or 1.0
    return np.stack(
        [
            [pixels.multiplied(image, mask / most, side=PIXELS) for mask in own]
            for image, own in zip(images, masks, strict=True)
        ]
    )


def grid(
    images: UInt8[np.ndarray, "s h w c"],
    one: UInt8[np.ndarray, "s m a b 3"],
    mean: UInt8[np.ndarray, "s m a b 3"],
    names: list[str],
    channels: Int[np.ndarray, " m"],
) -> Figure:
    """Each image in a block of two lines: times one channel of each mask, and times their mean.

    Args:
        images: what the network sees.
        one: `products` of the channel of each learner.
        mean: `products` of the mean over channels.
        names: of the images' classes.
        channels: of each learner, from 0.
    """
    learners = one.shape[1]
    width = layout.COLUMN if learners <= 3 else layout.PAGE
    side = min(LARGEST, (width - LEFT - SAID - learners * GAP) / (learners + 1))
    width = LEFT + SAID + (learners + 1) * (side + GAP) - GAP
    head, block = 2 * LINE + 0.03, 2 * (side + GAP)
    drawn = canvas(width, head + len(images) * (block + GAP))
    _heads(drawn, head, side, channels)
    for s, (image, name) in enumerate(zip(images, names, strict=True)):
        y = head + s * (block + GAP)
        middle: dict[str, Any] = {"ha": "center", "va": "center"}
        turned = 90 if len(name) > 2 else 0
        most = max(3, int(2 * side / 0.055))
        drawn.text(LEFT / 2, y + side, name, most=most, rotation=turned, **middle)
        drawn.image(LEFT, y + (side + GAP) / 2, side, image)
        for line, (said, shown) in enumerate((("channel", one[s]), ("mean", mean[s]))):
            top = y + line * (side + GAP)
            at = LEFT + side + GAP + SAID / 2 - GAP / 2
            soft = palette.light("soft")
            drawn.text(at, top + side / 2, said, rotation=90, color=soft, fontsize=5, **middle)
            for m, product in enumerate(shown):
                drawn.image(_column(m, side), top, side, product)
    return drawn.figure


def _column(learner: int, side: float) -> float:
    """The left edge of a learner's column, in inches."""
    return LEFT + side + SAID + GAP + learner * (side + GAP)


def _heads(drawn: Canvas, head: float, side: float, channels: Int[np.ndarray, " m"]) -> None:
    for m, channel in enumerate(channels):
        x = _column(m, side) + side / 2
        soft = palette.light("soft")
        drawn.text(x, head - LINE - 0.03, f"learner {m + 1}", ha="center", va="bottom")
        said = f"channel {channel + 1}"
        drawn.text(x, head - 0.03, said, ha="center", va="bottom", color=soft, fontsize=5)
