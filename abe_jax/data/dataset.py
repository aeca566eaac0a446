"""A data set: prepared once, then read as class-disjoint splits."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

from abe_jax.data import domains, held_out
from abe_jax.data.held_out import HELD_OUT
from abe_jax.data.inspected import Inspected
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources.class_splits import share_for_validation
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError

SPLITS = ("train", "val", "test")  # of disjoint classes
OWN_SPLITS = "splits of one's own"  # the name of a data set that was not made by name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """How a data set is prepared, how its splits are read, and what of them training may see.

    read                prepares the set if need be and reads its split train, val or test, and
                        `held` where `own_held_out`
    prepare             builds what is not built yet and returns its folder, if it has one. Safe
                        when several processes do it at once (one builds, the others wait) and
                        after one was killed half-way (the next goes on or begins anew)
    held_out            this share of each training class's images is the split `held`
    unseen_domains, validation_domains      as in `domains.restricted`
    own_held_out        the set has images of the training classes that no training sees
    validate            False: there is no split `val`, all classes but the test's are trained on,
                        and a training ends with its last checkpoint, chosen by nothing
    """

    name: str
    read: Callable[[str], Split]
    prepare: Callable[[], pathlib.Path | None]
    held_out: float = 0.0
    unseen_domains: tuple[str, ...] = ()
    validation_domains: tuple[str, ...] = ()
    own_held_out: bool = False
    validate: bool = True
    options: SourceOptions | None = None  # what it was made of; None: splits of one's own

    def __post_init__(self) -> None:
        """Raises ArgumentError for a share that cannot be, or that the set has no use for."""
        if not 0 <= self.held_out <= 1:
            raise ArgumentError("held_out", f"{self.held_out} is no share; choose from 0 to 1")
        if self.own_held_out and self.held_out:
            raise ArgumentError(
                "held_out",
                f"{self.held_out}, but {self.name} has held-out images of its own; leave it at 0",
            )

    @classmethod
    def of_splits(
        cls, train: Split, val: Split | None = None, test: Split | None = None
    ) -> "Dataset":
        """A data set of splits that are there already; those left out cannot be asked for.

        Without `val` a training has nothing to choose by and ends with its last checkpoint.
        """
        given = {"train": train, "val": val, "test": test}

        def read(name: str) -> Split:
            split = given[name]
            if split is None:
                raise UserError(f"the data set was made without a split {name!r}")
            return dataclasses.replace(split, name=name)

        return cls(name=OWN_SPLITS, read=read, prepare=lambda: None, validate=val is not None)

    @property
    def has_held_out(self) -> bool:
        """Whether there is a split `held`."""
        return bool(self.held_out) or self.own_held_out

    @property
    def classes(self) -> int:
        """The number of training classes."""
        return len(self.split("train").class_names)

    @property
    def default_validation_classes(self) -> int:
        """What `validation_classes` is of this set where nobody says.

        0 where it has validation images of its own, else `share_for_validation`.
        """
        try:
            self.read("val")
        except ArgumentError as error:
            if error.argument != "validation_classes":
                raise
            return share_for_validation(len(self.read("train").class_names))
        return 0

    def split(self, name: str) -> Split:
        """One split, `train`, `val` or `test`; the data set is prepared if need be. Kept once read.

        The classes of the three are disjoint (but ImageNet's test images are of all its classes),
        and so are their domains where some are for validation or the test alone. A fourth, `held`,
        are images of the training classes that training does not see (where `has_held_out`): those
        that `held_out` keeps out of `train`, or the data set's own.

        Raises:
            UserError: there is no such split, an option does not fit the data, or the prepared
                data is damaged.
        """
        if name not in (*SPLITS, HELD_OUT):
            raise UserError(f"unknown split {name!r}: one of {', '.join((*SPLITS, HELD_OUT))}")
        if name == HELD_OUT and not self.has_held_out:
            raise ArgumentError("held_out", "0, so no image of a training class is held out")
        if name not in self._splits:
            split = self._divided(name)
            damaged = self.options.damaged if self.options else "use"
            records = Inspected(split.records, damaged)
            self._splits[name] = dataclasses.replace(split, records=records)
        return self._splits[name]

    @functools.cached_property
    def _splits(self) -> dict[str, Split]:
        return {}

    def _divided(self, name: str) -> Split:
        source = "train" if name == HELD_OUT and not self.own_held_out else name
        split = domains.restricted(
            self.read(source), self.unseen_domains, self.validation_domains, self.name
        )
        if self.held_out and source == "train":
            return held_out.part(split, self.held_out, name)
        return split
