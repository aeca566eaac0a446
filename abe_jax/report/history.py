"""The measurements of a run over its steps, read from metrics.csv."""

import csv
import math
from pathlib import Path

import numpy as np

History = dict[str, np.ndarray]


def read(path: Path) -> History:
    """The columns of metrics.csv as float64 arrays of one length, with `step` rising.

    An empty or unreadable cell is NaN. A row without a step, such as one cut short by a kill, is
    left out; of two rows of one step the later one counts. A missing file gives no columns.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = {}
        reader = csv.DictReader(file)
        for row in reader:
            step = _number(row.get("step"))
            if math.isfinite(step):
                rows[step] = row
    if not rows:
        return {}
    names = [name for name in reader.fieldnames or [] if name]
    order = sorted(rows)
    columns = {n: np.array([_number(rows[s].get(n)) for s in order], np.float64) for n in names}
    return {name: column for name, column in columns.items() if np.isfinite(column).any()}


def _number(text: str | None) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        return math.nan
    return value


def measured(history: History, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which the column was measured, and its values there: finite, maybe empty."""
    if name not in history:
        return np.empty(0), np.empty(0)
    finite = np.isfinite(history[name])
    return history["step"][finite], history[name][finite]


def thinned(steps: np.ndarray, values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points, each the mean of neighbouring ones, so that long runs stay small."""
    if len(steps) <= most:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), most)
    means = [(steps[part].mean(), values[part].mean()) for part in parts]
    shorter = np.array(means)
    return shorter[:, 0], shorter[:, 1]


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """The centred moving mean over `width` values (odd), narrower at both ends."""
    reach = width // 2
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return np.array([window.mean() for window in windows], np.float64)
