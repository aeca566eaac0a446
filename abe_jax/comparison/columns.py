"""What a comparison tells of an arm: figures of its evaluations, and what it costs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from abe_jax.models import counting
from abe_jax.training import Recipe

Numbers = dict  # of one split, as evaluation.json has it
Figure = Callable[[Numbers], float | None]


class Column(NamedTuple):
    """A figure of an evaluation; None where it has none."""

    title: str
    digits: int
    figure: Figure


def _number(*path: str) -> Figure:
    """The number that lies there in an evaluation."""

    def figure(evaluation: Numbers) -> float | None:
        value = evaluation
        for name in path:
            if name not in value:
                return None
            value = value[name]
        return float(value)  # pyright: ignore[reportArgumentType]

    return figure


def _percent(*path: str) -> Figure:
    def figure(evaluation: Numbers) -> float | None:
        value = _number(*path)(evaluation)
        return None if value is None else 100 * value

    return figure


WITHOUT_NEAR = ("without_near_duplicates", "metrics", "ensemble")
ACROSS_CAMERAS = ("reidentification", "metrics", "ensemble")
ACCURACY = (
    Column("MAP@R", 3, _number("metrics", "ensemble", "map@r")),
    Column("R@1 %", 2, _percent("metrics", "ensemble", "recall@1")),
    Column("MAP@R without near-duplicates", 3, _number(*WITHOUT_NEAR, "map@r")),
    Column("R@1 % without near-duplicates", 2, _percent(*WITHOUT_NEAR, "recall@1")),
    Column("rank-1 % across cameras", 2, _percent(*ACROSS_CAMERAS, "rank-1")),
    Column("mAP across cameras", 3, _number(*ACROSS_CAMERAS, "map")),
    Column("class top-1 %", 2, _percent("grains", "class", "top-1")),
    Column("instance mAP", 3, _number("grains", "instance", "map")),
    Column("copy mAP", 3, _number("grains", "copy", "map")),
    Column("R@1 % within a domain", 2, _percent("domains", "mean", "ensemble", "recall@1")),
    Column("R@1 % of one learner", 2, _percent("metrics", "learners_mean", "recall@1")),
    Column("cosine of learners", 3, _number("cosine", "same_image", "mean")),
    Column("binary R@1 %", 2, _percent("metrics", "binary", "recall@1")),
    Column("whitened R@1 %", 2, _percent("metrics", "whitened", "recall@1")),
)
COST = ("parameters", "million MACs")


def header(arms: Sequence[Sequence[Numbers]]) -> list[Column]:
    """The columns of which at least one arm has a figure."""
    return [
        column
        for column in ACCURACY
        if any(column.figure(evaluation) is not None for arm in arms for evaluation in arm)
    ]


def row(
    name: str, recipe: Recipe, evaluations: Sequence[Numbers], columns: Sequence[Column]
) -> list[str]:
    """An arm's figures over its seeds, as `mean ± standard deviation`, and its cost.

    Where a seed lacks a figure that others have, the cell says of how many it is: `0.5 (2 of 3)`.
    """
    cells = [name]
    for column in columns:
        values = [column.figure(evaluation) for evaluation in evaluations]
        known = [value for value in values if value is not None]
        few = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
        cells.append(spread(known, column.digits) + few if known else "-")
    size = recipe.preprocessing
    total = counting.parts(recipe.model, size.size, size.channels)[-1]
    return [*cells, f"{total.parameters:,}", f"{total.multiply_adds / 1e6:.2f}"]


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and, of two and more values, their sample standard deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean
