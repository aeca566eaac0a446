"""Which checkpoint a training ends with: the best on validation classes, or its last one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from abe_jax.data.split import Split
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.length import Train
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState
from abe_jax.training.unreadable import Unreadable

NOTHING_CHOSEN = "no class is kept for validation: the last checkpoint is taken, chosen by nothing"


class Validation(NamedTuple):
    """How a training is judged while it goes: by retrieval on classes of its own."""

    split: Split
    # (replicated state, split) -> metrics by name, and the images that could not be read
    measure: Callable[[TrainState, Split], tuple[dict[str, float], Int[np.ndarray, " k"]]]
    names: Sequence[str]  # of the metrics
    select: str  # the metric by which the best checkpoint is chosen
    unreadable_share: float = 0.01  # a greater share of unreadable images stops the run


class Selection:
    """The checkpoint in `RunFolder.best`: of the best state so far, or of the last one saved."""

    def __init__(
        self,
        validation: Validation | None,
        folder: RunFolder,
        train: Train,
        say: Callable[[str], None],
    ):
        """Reads what is kept from before; without `validation` the last state is taken."""
        self._validation, self._train = validation, train
        self._kept = Checkpoints(folder.best, 1, writes=True)
        self._value = self._before = -1.0
        if validation is None:
            say(NOTHING_CHOSEN)
            return
        self._value = max(map(self._to_surpass, self._kept.steps()), default=-1.0)
        self._unreadable = Unreadable(folder, validation.split, validation.unreadable_share, say)

    @property
    def columns(self) -> tuple[str, ...]:
        """What `measured` gives, by name."""
        return tuple(f"val_{name}" for name in self._validation.names) if self._validation else ()

    def measured(self, state: TrainState) -> dict[str, float]:
        """The metrics of a replicated state on the validation classes; nothing where none are."""
        if self._validation is None:
            return {}
        metrics, unreadable = self._validation.measure(state, self._validation.split)
        self._unreadable.add(unreadable)
        return {f"val_{name}": value for name, value in metrics.items()}

    def takes(self, values: dict[str, float], saves: bool) -> bool:
        """Whether this state is the one to keep: it was measured and is better, or nothing chooses.

        Args:
            values: with those of `measured`, where the state was measured.
            saves: whether a checkpoint to go on from is written of it.
        """
        if self._validation is None:
            return saves
        name = f"val_{self._validation.select}"
        if name not in values:
            return False
        self._before = self._value
        self._value = max(values[name], self._before)
        return values[name] > self._before

    def lacks(self, step: int) -> bool:
        """Whether what a training of so many steps should leave is not there.

        Deleted, as a damaged one must be; or the last one was not written before a kill.
        """
        kept = self._kept.steps()
        return not kept or (self._validation is None and kept[-1] != step)

    def save(self, state: TrainState, *, only: bool = False) -> None:
        """Keeps the state, and the one before goes; `only`: there was no other to compare with."""
        about: dict[str, Any] = {"value": self._value, "before": self._before}
        if only:
            del about["before"]
        self._kept.save(state, about if self._validation else {"chosen": "last"})

    def close(self) -> None:
        """Finishes what is being written."""
        self._kept.close()

    def _to_surpass(self, step: int) -> float:
        """The value to surpass, of the best checkpoint, which was made after so many steps.

        Where a training was longer than it is now, its last step may have been measured when this
        one would not have been: what counts is then the best value before that.
        """
        about = self._kept.about(step)
        if self._train.validates(step):
            return about["value"]
        return about.get("before", about["value"] if self._train.evaluate_every else -1)
