"""What a checkpoint costs a training: the time that its steps stand still, or run more slowly.

    pytest benchmarks/test_checkpoint.py            the quickstart's ABE-M
    pytest benchmarks/test_checkpoint.py --full     the paper's ABE-8 on GoogLeNet too

A training on one host fetches its state, computes a digest, hands both to Orbax and goes on, while
Orbax writes. Hosts that train together wait until it is written.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import pytest
from results import Table, number
from training import configuration, random_batch, random_state, train_step

from abe_jax.comparison import timing
from abe_jax.config import Config
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints

STEPS = {False: 30, True: 2}  # between two checkpoints; by --full, about as long as one is written
NONE, BEHIND, WAITED, LEFT = "none", "written behind", "waited for", "left to write"


class Training:
    """Steps of a training, which can begin with a checkpoint."""

    def __init__(self, made: Config, steps: int, folder: Path):
        """Compiles nothing yet."""
        self._step, self._state = train_step(made), random_state(made)
        self._batch, self._steps, self._folder = random_batch(made), steps, folder
        self._checkpoints = Checkpoints(folder, 1, writes=True)
        own = step.unreplicate(self._state).params
        self.parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(own))  # bytes

    def bytes(self) -> int:
        """Of one checkpoint on the disk."""
        newest = self._folder / str(self._checkpoints.steps()[-1])
        return sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())

    def run(self, *, saves: bool, waits: bool = False) -> None:
        """The steps. What an earlier call left to be written is none of this one's time."""
        if saves:
            self._checkpoints.save(step.unreplicate(self._state), {})
            if waits:
                self._checkpoints.wait()
        for _ in range(self._steps):
            self._state, metrics = self._step(self._state, self._batch)
            step.fetch(metrics)

    def settle(self) -> None:
        """Until everything is written."""
        self._checkpoints.wait()

    def close(self) -> None:
        """Frees Orbax's threads."""
        self._checkpoints.close()


def seconds(training: Training, rounds: int) -> dict[str, float]:
    """Medians of the steps without a checkpoint and with one, in both ways."""
    calls: dict[str, Callable[[], object]] = {
        NONE: lambda: training.run(saves=False),
        BEHIND: lambda: training.run(saves=True),
        LEFT: training.settle,
        WAITED: lambda: training.run(saves=True, waits=True),
    }
    return timing.medians(calls, rounds)


@pytest.mark.slow
def test_time_lost_a_checkpoint(
    full: bool, rounds: int, tables: list[Table], tmp_path: Path
) -> None:
    rows = []
    for own in (False, True) if full else (False,):
        made = configuration("attention", 8, full=own, compute="float32")
        training = Training(made, STEPS[own], tmp_path / str(own))
        found = seconds(training, rounds)
        size = training.bytes()
        training.close()
        assert size > training.parameters / 2  # compressed, moments beside them
        rows.append(
            (
                f"{made.model.backbone}, ABE-{made.model.learners}",
                number(size / 1e6),
                number(1e3 * found[NONE] / STEPS[own]),
                *(number(1e3 * (found[way] - found[NONE])) for way in (BEHIND, WAITED)),
                number(1e3 * found[LEFT]),
            )
        )
    tables.append(
        Table(
            title="Time lost a checkpoint",
            note=f"Medians over {rounds} interleaved rounds of some steps without a checkpoint and "
            "with one before them, on the disk of this machine. Lost: the difference. Behind: as "
            "one host saves; left: what is still written when these steps are over. Waited for: as "
            "several hosts save.",
            head=(
                "training",
                "MB",
                "ms a step",
                "ms lost, behind",
                "ms lost, waited for",
                "ms left",
            ),
            rows=rows,
        )
    )
