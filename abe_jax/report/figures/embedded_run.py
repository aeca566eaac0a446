"""A trained run as the pictures see it, with one split that its network has embedded."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure

from abe_jax.data import loader
from abe_jax.data.split import Split, chosen
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.options import Measures
from abe_jax.report.figures.captions import escaped

NOTHING_TO_FIND = "no query has an image of its class to find"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedRun:
    """One run and one split; the rows of all below are the split's images that can be read."""

    name: str  # what pictures call it
    embedder: Embedder
    step: int  # of the checkpoint
    split: Split
    embedded: Embedded
    measures: Measures  # the Ks of Recall@K, and the block of the search

    @classmethod
    def of(
        cls, name: str, embedder: Embedder, step: int, split: Split, measures: Measures
    ) -> "EmbeddedRun":
        """Embeds a split as an evaluation does; all hosts call it.

        Raises:
            UserError: none of its images can be read.
        """
        embedded = embedder.embed(split)
        if not len(embedded.image_ids):
            raise UserError(f"none of the {len(split.labels):,} images of {split.name} can be read")
        return cls(
            name=name,
            embedder=embedder,
            step=step,
            split=split,
            embedded=embedded,
            measures=measures,
        )

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """The class of each row."""
        return self.split.labels[self.embedded.image_ids]

    @property
    def gallery(self) -> Bool[np.ndarray, " n"] | None:
        """Which rows are searched by the others; None where each is a query of all others."""
        return chosen(self.split, self.embedded.image_ids).gallery

    @property
    def flat(self) -> Float[np.ndarray, "n D"]:
        """The ensemble's vector of each row: its learners' one after the other."""
        return self.embedded.vectors.reshape(len(self.embedded.vectors), -1)

    def images(self, rows: Int[np.ndarray, " r"]) -> UInt8[np.ndarray, "r h w c"]:
        """The images of some rows as centre crops."""
        ids = self.embedded.image_ids[rows]
        return loader.images_at(self.split, self.embedder.network.preprocessing, ids)

    def class_name(self, row: int) -> str:
        """The name of a row's class."""
        return self.split.class_names[int(self.labels[row])]

    @property
    def words(self) -> str:
        """What the pictures of this run are of, for their captions."""
        uncropped = self.embedder.network.longest
        shown = ", embedded uncropped and shown as centre crops" if uncropped else ""
        missing = len(self.embedded.unreadable)
        left_out = f" (without {missing:,} that cannot be read)" if missing else ""
        return (
            f"{escaped(self.name)}, {self.split.name} split: {len(self.labels):,} images{left_out} "
            f"of {len(np.unique(self.labels)):,} classes, checkpoint of step {self.step:,}{shown}"
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
