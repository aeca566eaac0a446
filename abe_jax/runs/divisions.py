"""A run measured on several divisions of a data set: the mean of their figures, and the spread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from abe_jax import hosts, report
from abe_jax.data import Dataset
from abe_jax.evaluation import Results
from abe_jax.runs.evaluation import Evaluation
from abe_jax.runs.run import Run

Numbers = Mapping[str, Any]  # of one evaluation
Means = dict[str, dict[str, float]]  # by what was ranked, by name


def write_evaluation(run: Run, divisions: Sequence[Dataset], say: Callable[[str], None]) -> None:
    """Measures the test of each division and writes what `summary` makes of them.

    All hosts call it; the first one writes evaluation.json and report.html. `say` is told of each
    division and then the table.
    """
    measured, name = [], divisions[0].name
    for number, dataset in enumerate(divisions):
        tested = run.tested._replace(dataset=dataset, label=f"of {name}, division {number}")
        measured.append(replace(run, tested=tested).measure("test", say))
        say(_line(measured[-1]))
    with hosts.together():  # the others stay until it is written, or end with the first
        if hosts.is_first():
            _write(run, measured, divisions[0].name, say)


def _write(run: Run, measured: Sequence[Evaluation], name: str, say: Callable[[str], None]) -> None:
    words = ("test", f"of {name}, {len(measured)} divisions", run.variant)
    numbers = summary([one.results.numbers for one in measured])
    last = measured[-1]
    shown = Evaluation(" ".join(filter(None, words)), Results(numbers), last.split, last.embedded)
    run.record(shown)
    say(report.tables.evaluation_table(numbers, split=shown.name))
    run.report(run.folder.report, shown)


def summary(each: Sequence[Numbers]) -> dict[str, Any]:
    """Of the evaluations of several divisions one, whose figures are means over divisions.

    step              of the checkpoint
    metrics           empty: Recall@K is not what such a set is known by
    reidentification  as of one division: queries and gallery (means, rounded), metrics; beside them
                      divisions (how many), measured (how many of them have a figure), and std,
                      the standard deviation of the divisions' own values, as the field's programs
                      in Python have it (not of a sample of them)
    each              the evaluations

    A division without a query that has an image of its person under another camera is in no mean,
    and not in `measured`.
    """
    found = [one["reidentification"] for one in each]
    metrics = [one["metrics"] for one in found if one["metrics"]]
    means, std = _over(metrics)
    figures = {name: round(float(np.mean([one[name] for one in found]))) for name in _COUNTS}
    figures |= {"divisions": len(each), "measured": len(metrics), "metrics": means, "std": std}
    return {
        "step": each[0].get("step"),
        "metrics": {},
        "reidentification": figures,
        "each": [dict(one) for one in each],
    }


_COUNTS = ("queries", "gallery")


def _over(each: Sequence[Means]) -> tuple[Means, Means]:
    """The mean and the standard deviation of figures."""
    if not each:
        return {}, {}
    values = {
        part: {name: [one[part][name] for one in each] for name in named}
        for part, named in each[0].items()
    }
    mean, std = (
        {
            part: {name: float(make(of)) for name, of in named.items()}
            for part, named in values.items()
        }
        for make in (np.mean, np.std)
    )
    return mean, std


def _line(measured: Evaluation) -> str:
    found = measured.results.reidentification
    if found is None:
        return f"{measured.name}: no query has an image of its person under another camera"
    return f"{measured.name}: rank-1 {100 * found.rank[1]:.1f} %, mAP {found.map:.3f}"
