"""Where each learner looks: grids of images and masks, of one channel and of their mean.

The masks alone, and the images times their masks (attention_product.py).
"""

from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from abe_jax.errors import ArgumentError
from abe_jax.evaluation.examples import evenly
from abe_jax.report import palette, pixels
from abe_jax.report.figures import attention_product, layout
from abe_jax.report.figures.canvas import Canvas, canvas
from abe_jax.report.figures.embedded_run import Drawn, EmbeddedRun, Picture, Skipped

ROWS = 6  # images
MOST = 12  # learners
GAP, LEFT, LINE, FOOT = 0.03, 0.13, 0.12, 0.22  # inches
LARGEST = 0.75  # inches of an image's side
PIXELS = 256  # of a mask's side
WIDEST = "the one of the largest variance over these images"

Masks = Float[np.ndarray, "s m i j"]


class Masked(NamedTuple):
    """Images of a run's split and every learner's masks over them."""

    rows: Int[np.ndarray, " s"]
    images: UInt8[np.ndarray, "s h w c"]
    masks: Float[np.ndarray, "s m i j k"]


def masked(run: EmbeddedRun) -> Masked | Skipped:
    """Images evenly spaced over a run's split with the masks over them; all hosts call it."""
    kind = run.embedder.network.model.kind
    if kind != "attention":
        return Skipped(f"a model of kind {kind!r} has no attention masks")
    rows = evenly(len(run.labels), ROWS)
    images = run.images(rows)
    return Masked(rows, images, run.embedder.masks(images))


@matplotlib.rc_context(layout.RC)
def pictures(
    run: EmbeddedRun, channel: int | None = None, given: Masked | Skipped | None = None
) -> Drawn:
    """Three grids of a model with attention, over images evenly spaced over the split.

    Args:
        run: of any kind.
        channel: the channel of all masks to show, from 1; None: each learner's own, `channels`.
        given: what `masked` gives of the run, where one host of several draws; None: asked here.

    Raises:
        ArgumentError: the masks have no such channel.
    """
    found = masked(run) if given is None else given
    if isinstance(found, Skipped):
        return found
    rows, images, masks = found
    chosen = _asked(masks, channel)
    one = np.stack([masks[:, m, :, :, c] for m, c in enumerate(chosen)], axis=1)
    one, said = one.astype(np.float32), [f"channel {c + 1}" for c in chosen]
    mean = masks.mean(axis=-1, dtype=np.float32)
    which = WIDEST if channel is None else f"channel {channel}"
    return [
        _picture("attention_channel", run, images, rows, one, said, which=which),
        _picture("attention_mean", run, images, rows, mean, []),
        _product(run, images, rows, (one, mean), chosen, which),
    ]


def _asked(masks: Float[np.ndarray, "s m i j k"], channel: int | None) -> Int[np.ndarray, " m"]:
    learners, most = masks.shape[1], masks.shape[-1]
    if channel is None:
        return channels(masks)
    if not 1 <= channel <= most:
        raise ArgumentError("channel", f"{channel}: the masks have the channels 1 to {most}")
    return np.full(learners, channel - 1)


def channels(masks: Float[np.ndarray, "s m i j k"]) -> Int[np.ndarray, " m"]:
    """Each learner's channel of the largest variance over images and positions.

    Of equal ones it is the first. A channel that hardly varies would show nothing. No channel is
    chosen by hand.
    """
    return np.argmax(masks.astype(np.float64).var(axis=(0, 2, 3)), axis=-1)


def _picture(
    name: str,
    run: EmbeddedRun,
    images: UInt8[np.ndarray, "s h w c"],
    rows: Int[np.ndarray, " s"],
    shown: Masks,
    said: list[str],
    *,
    which: str = WIDEST,
) -> Picture:
    learners = shown.shape[1]
    what = (
        f"One channel of each learner's mask: {which}"
        if said
        else "Each learner's mask, its mean over the channels"
    )
    drawn = shown[:, :MOST]
    limited = f", the first {MOST} of {learners} learners" if learners > MOST else ""
    caption = (
        f"{what}{limited}, scaled up to the image, whose outlines are drawn over it. One scale for "
        f"all, {drawn.min():.3f} to {drawn.max():.3f}. Images evenly spaced over the split. "
        f"{run.words}."
    )
    names = [run.class_name(int(row)) for row in rows]
    return Picture(name, grid(images, drawn, names, said), caption)


def _product(
    run: EmbeddedRun,
    images: UInt8[np.ndarray, "s h w c"],
    rows: Int[np.ndarray, " s"],
    shown: tuple[Masks, Masks],
    chosen: Int[np.ndarray, " m"],
    which: str,
) -> Picture:
    """The image times one channel of each learner's mask, and times their mean below it."""
    few = slice(attention_product.ROWS)
    one, mean = (attention_product.products(images[few], m[few, :MOST]) for m in shown)
    names = [run.class_name(int(row)) for row in rows[few]]
    learners = len(chosen)
    limited = f" Of the first {MOST} of {learners} learners." if learners > MOST else ""
    most = [float(masks[few, :MOST].max()) for masks in shown]
    caption = (
        f"The image times each learner's mask, scaled up to it: above one channel, {which}, below "
        f"the mean over the channels.{limited} Each mask is divided by the largest value of its "
        f"kind here, {most[0]:.3f} of the channel and {most[1]:.3f} of the mean, so that these let "
        f"the image through as it is; black is 0. {run.words}."
    )
    figure = attention_product.grid(images[few], one, mean, names, chosen[:MOST])
    return Picture("attention_product", figure, caption)


def grid(
    images: UInt8[np.ndarray, "s h w c"], shown: Masks, names: list[str], said: list[str]
) -> Figure:
    """Rows of images, a column for each learner; of up to four learners a paper column at most.

    Args:
        images: what the network sees.
        shown: a mask of each learner over each image.
        names: of the images' classes.
        said: below each learner's number, or empty.
    """
    learners = shown.shape[1]
    width = layout.COLUMN if learners <= 4 else layout.PAGE
    head = LINE * (2 if said else 1) + 0.03
    side = min(LARGEST, (width - LEFT - learners * GAP) / (learners + 1))
    width = LEFT + (learners + 1) * (side + GAP) - GAP
    drawn = canvas(width, head + len(images) * (side + GAP) + FOOT)
    low, high = float(shown.min()), float(shown.max())
    _heads(drawn, head, side, learners, said)
    for s, (image, name) in enumerate(zip(images, names, strict=True)):
        y = head + s * (side + GAP)
        most = max(3, int(side / 0.055))
        turned = 90 if len(name) > 2 else 0  # ">" on its side would be another class
        middle = {"rotation": turned, "ha": "center", "va": "center"}
        drawn.text(LEFT / 2, y + side / 2, name, most=most, **middle)
        drawn.image(LEFT, y, side, image)
        for m, mask in enumerate(shown[s]):
            heat = pixels.heat(image, mask, low=low, high=high, side=PIXELS)
            drawn.image(LEFT + (m + 1) * (side + GAP), y, side, heat)
    drawn.scale(LEFT + (width - LEFT - 1) / 2, drawn.height - FOOT + 0.07, low, high)
    return drawn.figure


def _heads(drawn: Canvas, head: float, side: float, learners: int, said: list[str]) -> None:
    """Above each column the learner's number and what is said of it."""
    for m in range(learners):
        x = LEFT + (m + 1) * (side + GAP) + side / 2
        drawn.text(x, head - LINE * bool(said) - 0.03, f"learner {m + 1}", ha="center", va="bottom")
        if said:
            soft = palette.light("soft")
            drawn.text(x, head - 0.03, said[m], ha="center", va="bottom", color=soft, fontsize=5)
