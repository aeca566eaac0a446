"""The metrics of a run, as it goes: metrics.csv and TensorBoard events."""

import contextlib
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from abe_jax import files, hosts
from abe_jax.errors import UserError
from abe_jax.training.length import Train
from abe_jax.training.run_folder import RunFolder


class Recorder:
    """Appends rows to metrics.csv and to the event files.

    Rows after the step that a run goes on from are dropped first, so the file of a run that was
    killed and resumed equals that of one that never stopped; so is what was measured at an end that
    is one no more, where a training goes on for more steps. Rates are no metrics for that reason:
    they stand in the progress lines and the events. Of several hosts the first alone writes.

    A disk that takes no row stops the training. One that takes no events does not: they are for
    looking at, and end there.
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

        # The queue to its thread holds a row and more: after ten a training would wait for ever
        # where a full disk has ended that thread.
        self._events = SummaryWriter(
            str(folder.path), purge_step=after + 1, max_queue=1000, flush_secs=10
        )

    def row(self, step: int, values: dict[str, float], rate: float) -> None:
        """Records the metrics of a step, those that are numbers; `rate` is in images per second.

        Raises:
            UserError: metrics.csv cannot be written, say because the disk is full.
        """
        if not self._writes:
            return
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        try:
            self._writer.writerow({"step": step, **{name: repr(v) for name, v in known.items()}})
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{self._file.name}: cannot be written ({error.strerror}); what is saved is "
                "intact, the same command goes on"
            ) from None
        if not self._takes_events():
            return
        for name, value in {**known, "images_per_second": rate}.items():
            self._events.add_scalar(name.replace("val_", "validation/"), value, step)

    def close(self) -> None:
        """Flushes everything to disk; a row that could not be written has been told of."""
        if not self._writes:
            return
        for opened in (self._file, self._events):
            with contextlib.suppress(OSError):
                opened.close()

    def _takes_events(self) -> bool:
        """Whether tensorboardX's thread lives, which has no public name; an error ends it."""
        writer = getattr(self._events.file_writer, "event_writer", None)
        worker = getattr(writer, "_worker", None)
        return worker is None or worker.is_alive()


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
