"""The metrics of a run, as it goes: metrics.csv and TensorBoard events."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from abe_jax import files, hosts
from abe_jax.training.length import Train
from abe_jax.training.run_folder import RunFolder


class Recorder:
    """Appends rows to metrics.csv and to the event files.

    Rows after the step that a run goes on from are dropped first, so the file of a run that was
    killed and resumed equals that of one that never stopped; so is what was measured at an end that
    is one no more, where a training goes on for more steps. Rates are no metrics for that reason:
    they stand in the progress lines and the events. Of several hosts the first alone writes.
    """

    def __init__(self, folder: RunFolder, columns: Sequence[str], train: Train, after: int):
        self._columns = ["step", *columns]
        self._writes = hosts.is_first()
        if not self._writes:
            return
        _rewrite(folder.metrics, self._columns, train, after)
        self._file = folder.metrics.open("a", newline="")
        self._writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
        from tensorboardX import SummaryWriter  # here, since it imports PyTorch where that is

        self._events = SummaryWriter(str(folder.path), purge_step=after + 1, flush_secs=10)

    def row(self, step: int, values: dict[str, float], rate: float) -> None:
        """Records the metrics of a step, those that are numbers; `rate` is in images per second."""
        if not self._writes:
            return
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        self._writer.writerow({"step": step, **{name: repr(v) for name, v in known.items()}})
        self._file.flush()
        for name, value in {**known, "images_per_second": rate}.items():
            self._events.add_scalar(name.replace("val_", "validation/"), value, step)

    def close(self) -> None:
        """Flushes everything to disk."""
        if not self._writes:
            return
        self._file.close()
        self._events.close()


def _rewrite(path: Path, columns: Sequence[str], train: Train, last: int) -> None:
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            # A kill can cut the last row short: a row counts only with all of its columns.
            complete = [row for row in csv.DictReader(file) if None not in row.values()]
        kept = [row for row in complete if row["step"].isdigit() and int(row["step"]) <= last]
        kept = [_logged(row, train) for row in kept if train.logs(int(row["step"]))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(kept)
    files.write(path, text.getvalue())


def _logged(row: dict[str, str], train: Train) -> dict[str, str]:
    """The row without what a validation found, where the training has none at that step."""
    if train.validates(int(row["step"])):
        return row
    return {name: "" if name.startswith("val_") else value for name, value in row.items()}
