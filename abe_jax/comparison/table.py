"""The table of a comparison: what its arms reached, what they cost and how long a step takes."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from abe_jax import report
from abe_jax.comparison import columns, timing
from abe_jax.comparison.arms import Arm, Comparison, evaluations
from abe_jax.runs.training import Training
from abe_jax.training import step

TIME = ("step ms", "x first")


class Table(NamedTuple):
    """A row for each arm under the header."""

    header: list[str]
    rows: list[list[str]]


def tabulated(of: Comparison, arms: Sequence[Arm]) -> Table:
    """What every arm reached over its seeds; columns of which no arm has a figure are left out.

    Raises:
        Stopped: asked to, between two steps of a training.
    """
    reached = [evaluations(of, arm) for arm in arms]
    trainings = []
    for arm in arms:
        with of.training(arm, 0) as training:  # timing writes nothing into its folder
            trainings.append(training)
    shown = columns.header(reached)
    header = ["arm", *(column.title for column in shown), *columns.COST]
    rows = [
        columns.row(arm.name, training.recipe, e, shown)
        for arm, training, e in zip(arms, trainings, reached, strict=True)
    ]
    if not of.rounds:
        return Table(header, rows)
    seconds = step_seconds(trainings, of.rounds)
    times = [[f"{1e3 * s:.1f}", f"{s / seconds[0]:.2f}"] for s in seconds]
    timed = [[*row, *time] for row, time in zip(rows, times, strict=True)]
    return Table([*header, *TIME], timed)


def step_seconds(trainings: Sequence[Training], rounds: int) -> list[float]:
    """The median time of a training step of each, taken in turns so that drift is shared."""
    calls = {str(i): _stepper(training) for i, training in enumerate(trainings)}
    return list(timing.medians(calls, rounds).values())


def _stepper(training: Training) -> Callable[[], Any]:
    recipe = training.recipe
    batch = next(recipe.batches(training.sources.train))
    return timing.chained(recipe.train_step(), step.replicate(recipe.create()), batch)


def write(of: Comparison, made: Table, name: str = "table.md") -> None:
    """Writes the table as markdown into the comparison's folder and prints it."""
    text = report.tables.markdown(made.rows, made.header)
    (of.workdir / name).write_text(text + "\n")
    of.say(text)
