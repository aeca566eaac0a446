"""Paths of the files in a run's folder."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of one run; `path` is what the command line calls workdir."""

    path: Path

    def has_run(self) -> bool:
        """Whether anything was ever saved; files of a run without its config count as well."""
        saved = any(True for part in (self.latest, self.best) for _ in part.glob("*"))
        return saved or self.evaluation.exists()

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.json"

    @property
    def latest(self) -> Path:
        """Checkpoints to go on from."""
        return self.path / "checkpoints" / "latest"

    @property
    def best(self) -> Path:
        """The checkpoint that did best on the validation classes."""
        return self.path / "checkpoints" / "best"

    @property
    def metrics(self) -> Path:
        """One row per logged step."""
        return self.path / "metrics.csv"

    @property
    def unreadable(self) -> Path:
        """The images that could not be read, one a line."""
        return self.path / "unreadable.txt"

    @property
    def damaged(self) -> Path:
        """The images that are damaged inside, one a line, whether used or not."""
        return self.path / "damaged.txt"

    @property
    def evaluation(self) -> Path:
        """Retrieval metrics by split."""
        return self.path / "evaluation.json"

    def whitening(self, variant: str) -> Path:
        """The whitening of the best checkpoint; `variant` names a test at another size."""
        return self.path / f"{' '.join(['whitening', variant]).strip()}.npz"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"
