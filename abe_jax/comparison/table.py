"""The table of a comparison: what its arms found, what they cost and how long a step takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from abe_jax import report
from abe_jax.comparison import columns, timing
from abe_jax.comparison.arms import Arm, Comparison, evaluations
from abe_jax.config import Config
from abe_jax.data import dataset, loader, sampling
from abe_jax.training import step

TIME = ("step ms", "x first")


class Table(NamedTuple):
    """A row for each arm under the header."""

    header: list[str]
    rows: list[list[str]]


def table(of: Comparison, arms: Sequence[Arm]) -> Table:
    """What every arm found over its seeds; columns of which no arm has a figure are left out.

    Raises:
        Stopped: asked to, between two steps of a training.
    """
    found = [evaluations(of, arm) for arm in arms]
    configs = [of.run(arm, 0).config for arm in arms]
    shown = columns.header(found)
    header = ["arm", *(column.title for column in shown), *columns.COST]
    rows = [
        columns.row(arm.name, config, e, shown)
        for arm, config, e in zip(arms, configs, found, strict=True)
    ]
    if not of.rounds:
        return Table(header, rows)
    seconds = step_seconds(configs, of.rounds)
    times = [[f"{1e3 * s:.1f}", f"{s / seconds[0]:.2f}"] for s in seconds]
    timed = [[*row, *time] for row, time in zip(rows, times, strict=True)]
    return Table([*header, *TIME], timed)


def step_seconds(configs: Sequence[Config], rounds: int) -> list[float]:
    """The median time of a training step of each config, taken in turns so that drift is shared."""
    calls = {str(place): _stepper(config) for place, config in enumerate(configs)}
    return list(timing.medians(calls, rounds).values())


def _stepper(config: Config) -> Any:
    split = dataset.load(config.data, "train")
    sample = sampling.sampler(
        config.data, split.labels, config.train.batch, config.seed, groups=split.groups
    )
    batch = next(loader.training(split, config.data, sample, seed=0, start=0, steps=1))
    run = step.train_step(config)
    state = step.replicate(step.create(config))

    def once() -> Any:
        nonlocal state
        state, metrics = run(state, batch)
        return metrics

    return once


def write(of: Comparison, made: Table, name: str = "table.md") -> None:
    """Writes the table as markdown into the comparison's folder and prints it."""
    text = report.tables.markdown(made.rows, made.header)
    (of.workdir / name).write_text(text + "\n")
    of.say(text)
