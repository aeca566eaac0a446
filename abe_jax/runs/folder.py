"""What lies where in a run's folder."""

import dataclasses
from pathlib import Path

from abe_jax import hosts
from abe_jax.config import Config, differences, read_json, write_json
from abe_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of one run; `path` is what the command line calls workdir."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: Config) -> "RunFolder":
        """The folder of a new run, or of one that goes on with the same configuration.

        What a start left behind that never came to a checkpoint is no run: a mistake in the
        configuration can be put right without naming another folder. Of several hosts the first
        alone looks and writes.

        Raises:
            UserError: the folder is another configuration's, or cannot be written.
        """
        folder = cls(path)
        if not hosts.is_first():
            return folder
        try:
            if folder.has_run():
                folder._check_same(config)
                return folder
            path.mkdir(parents=True, exist_ok=True)
            if folder.config.exists():  # else these names are somebody else's files
                for left in (folder.metrics, folder.unreadable):
                    left.unlink(missing_ok=True)
            write_json(config, folder.config)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from None
        return folder

    def has_run(self) -> bool:
        """Whether anything was ever saved; files of a run without its config count as well."""
        saved = any(True for part in (self.latest, self.best) for _ in part.glob("*"))
        return saved or self.evaluation.exists()

    def _check_same(self, config: Config) -> None:
        changed = differences(read_json(self.config), config)
        if changed:
            raise UserError(
                f"{self.path}: holds a run of another config ({'; '.join(changed[:3])}"
                f"{'; ...' if len(changed) > 3 else ''}); name another --workdir"
            )

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
    def evaluation(self) -> Path:
        """Retrieval metrics by split."""
        return self.path / "evaluation.json"

    def whitening(self, words: str) -> Path:
        """The whitening of the best checkpoint; `words` as an evaluation at another size has it."""
        return self.path / f"{' '.join(['whitening', words]).strip()}.npz"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"
