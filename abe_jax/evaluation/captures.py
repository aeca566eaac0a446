"""Which images of a split are nearly the same photograph: rules that give each a capture."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from abe_jax.data.images.capture_time import CaptureTime, capture_time
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError
from abe_jax.evaluation import near_pairs
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import ROUNDING
from abe_jax.evaluation.options import NEAR_COSINE, NEAR_SECONDS

Say = Callable[[str], None]
Codes = Int[np.ndarray, " n"]


@runtime_checkable
class CaptureRule(Protocol):
    """Decides which images of a split are nearly the same photograph."""

    @property
    def words(self) -> str:
        """The images of one capture, with the rule's numbers."""
        ...

    def captures(self, split: Split, say: Say) -> Codes:
        """A code for each image, alike for images of one capture; all hosts call it.

        `say` is told what the rule could not see.

        Raises:
            ArgumentError: of `near_duplicates`, where the rule does not fit the images.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByColumn:
    """The data say it: `Split.captures`, such as a column of a CSV file has them."""

    column: str = ""  # its name, for the words

    @property
    def words(self) -> str:
        """As in `CaptureRule`."""
        if not self.column:
            return "images of one capture, as the data say"
        return f"images of one value in the column '{self.column}'"

    def captures(self, split: Split, say: Say) -> Codes:
        """As in `CaptureRule`."""
        if split.captures is None:
            raise ArgumentError(
                "near_duplicates",
                f"'column', but the images of {split.name} have no captures; set capture_column to "
                "the column of the CSV file that names them, or choose 'sequence' or 'distance'",
            )
        return split.captures


@dataclasses.dataclass(frozen=True, kw_only=True)
class BySequence:
    """Photographs that one camera took shortly after each other, by their EXIF time.

    Chains join: a sequence ends where no photograph follows for more than `seconds`. An image
    without a time is alone.
    """

    seconds: float = NEAR_SECONDS
    threads: int = 2  # that read the images

    def __post_init__(self) -> None:
        """Raises ArgumentError for seconds that are no length of time."""
        if not self.seconds >= 0:
            raise ArgumentError("near_seconds", f"{self.seconds} is no length of time; 0 or more")

    @property
    def words(self) -> str:
        """As in `CaptureRule`."""
        return f"photographs of one camera, each at most {self.seconds:g} s after the one before"

    def captures(self, split: Split, say: Say) -> Codes:
        """As in `CaptureRule`."""
        count = len(split.labels)
        with ThreadPoolExecutor(self.threads) as pool:
            found = list(pool.map(lambda row: capture_time(split.records[row]), range(count)))
        missing = found.count(None)
        if missing == count:
            raise ArgumentError("near_duplicates", timeless(split))
        if missing:
            say(
                f"near-duplicates: {missing:,} of {count:,} images have no time of capture, and "
                "each of them is a capture of its own"
            )
        return sequences(found, self.seconds)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ByDistance:
    """Images that are alike to a network which learned nothing of these classes.

    Captures are the connected components of the pairs whose cosine (of several learners the mean)
    is at least `cosine`: chains join, so two images of one may be less alike. Every pair is
    compared. An image that this network cannot read is alone.
    """

    embedder: Embedder
    cosine: float = NEAR_COSINE
    network: str = "a frozen network"  # its name, for the words

    def __post_init__(self) -> None:
        """Raises ArgumentError for a number that is no cosine."""
        if not -1 <= self.cosine <= 1:
            raise ArgumentError("near_cosine", f"{self.cosine} is no cosine; choose from -1 to 1")

    @property
    def words(self) -> str:
        """As in `CaptureRule`."""
        return f"images joined by cosines of {self.cosine:g} or more under {self.network}"

    def captures(self, split: Split, say: Say) -> Codes:
        """As in `CaptureRule`."""
        vectors, image_ids, _ = self.embedder.embed(split)
        codes = np.arange(len(split.labels))
        codes[image_ids] = image_ids[alike(vectors, self.cosine)]
        return codes


def alike(vectors: Float[np.ndarray, "n m d"], cosine: float) -> Codes:
    """The first image that chains of pairs join each one with, pairs of at least this mean cosine.

    Of unit vectors |x - y|^2 = 2 m (1 - cosine), up to the rounding of an embedding, so that a
    cosine of 1 joins two copies of one image.
    """
    count, learners, dim = vectors.shape
    rows = vectors.reshape(count, learners * dim)
    limit = learners * max(2 * (1 - cosine), ROUNDING**2)
    return near_pairs.components(count, lambda start: rows[start : start + near_pairs.BLOCK], limit)


def sequences(found: Sequence[CaptureTime | None], seconds: float) -> Codes:
    """The first photograph of the sequence that each is of; None stands for one without a time."""
    codes = np.arange(len(found))
    dated = sorted((known, row) for row, known in enumerate(found) if known)
    for (known, row), (following, next_row) in itertools.pairwise(dated):
        wait = (following.time - known.time).total_seconds()
        if following.camera == known.camera and wait <= seconds:
            codes[next_row] = codes[row]
    return codes


def timeless(split: Split) -> str:
    """What is wrong with a rule by time where no image has one."""
    return (
        f"'sequence', but none of the {len(split.labels):,} images of {split.name} has a time of "
        "capture (EXIF); choose 'distance', or 'column' with a column of a CSV file"
    )
