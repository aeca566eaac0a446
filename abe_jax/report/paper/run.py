"""A trained run as the pictures see it: its best checkpoint, and a split embedded by it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

from abe_jax.config import Config, read_json
from abe_jax.data import dataset
from abe_jax.data.dataset import Split
from abe_jax.data.split import chosen
from abe_jax.errors import UserError
from abe_jax.evaluation.embed import Embedded, embed
from abe_jax.report.paper.captions import plain
from abe_jax.runs.folder import RunFolder
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints

NOTHING_TO_FIND = "no query has an image of its class to find"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run and one split; rows of all below are the split's images that can be read."""

    name: str  # what pictures call it
    config: Config
    state: step.TrainState  # replicated
    at: int  # the step of its best checkpoint
    split: Split
    embedded: Embedded

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """The class of each row."""
        return self.split.labels[self.embedded.instances]

    @property
    def gallery(self) -> Bool[np.ndarray, " n"] | None:
        """Which rows are searched, the others ask; None where each asks all others."""
        return chosen(self.split, self.embedded.instances).gallery

    @property
    def flat(self) -> Float[np.ndarray, "n D"]:
        """The ensemble's vector of each row: its learners' one after the other."""
        return self.embedded.vectors.reshape(len(self.embedded.vectors), -1)

    def class_name(self, row: int) -> str:
        """The name of a row's class."""
        return self.split.class_names[int(self.labels[row])]

    @property
    def words(self) -> str:
        """What the pictures of this run are of, for their captions."""
        whole = ", embedded whole and shown as centre crops" if self.config.evaluate.longest else ""
        missing = len(self.embedded.unreadable)
        left_out = f" (without {missing:,} that cannot be read)" if missing else ""
        return (
            f"{plain(self.name)}, {self.split.name} split: {len(self.labels):,} images{left_out} "
            f"of {len(np.unique(self.labels)):,} classes, checkpoint of step {self.at:,}{whole}"
        )


class Picture(NamedTuple):
    """A figure, the name of its files and what is to be said below it, in Markdown."""

    name: str
    figure: Figure
    caption: str


class Skipped(NamedTuple):
    """Why a run has no such picture."""

    reason: str


Drawn = list[Picture] | Skipped


def opened(path: Path, name: str, split: str) -> Run:
    """The run in a folder, the split embedded by the very path that an evaluation takes.

    Raises:
        UserError: no run, no checkpoint in it or a damaged one, no such data, or no image of it
            can be read.
    """
    folder = RunFolder(path)
    config = read_json(folder.config)
    images = dataset.load(config.data, split)
    best = Checkpoints(folder.best, 1)
    try:
        state, about = best.restore(step.abstract(config))
    finally:
        best.close()
    replicated = step.replicate(state)
    embedded = embed(replicated, step.embed_step(config), images, config)
    if not len(embedded.instances):
        raise UserError(f"none of the {len(images.labels):,} images of {split} can be read")
    return Run(
        name=name,
        config=config,
        state=replicated,
        at=int(about["step"]),
        split=images,
        embedded=embedded,
    )


def names(paths: Sequence[Path]) -> list[str]:
    """What to call each run: its folder's name, with as much of the path as sets it apart."""
    parts = [path.resolve().parts[1:] for path in paths]
    found = []
    for own in parts:
        length = 1
        while length < len(own) and sum(p[-length:] == own[-length:] for p in parts) > 1:
            length += 1
        found.append("/".join(own[-length:]))
    return found


def evenly(count: int, most: int) -> Int[np.ndarray, " k"]:
    """At most so many of `count` places, evenly spaced, each from the middle of its share."""
    most = min(count, most)
    return ((np.arange(most) + 0.5) * count / max(most, 1)).astype(np.int64)
