"""Paths of the files in a run's folder."""

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from abe_jax import files
from abe_jax.errors import UserError
from abe_jax.hosts import Lost

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system that has none


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of one run; `path` is what the command line calls workdir."""

    path: Path

    def require(self) -> None:
        """Raises UserError unless a run's configuration is there."""
        if not self.config.exists():
            raise UserError(f"{self.config}: not found; is {self.path} the folder of a run?")

    def has_run(self) -> bool:
        """Whether anything was ever saved; files of a run without its config count as well."""
        saved = any(True for part in (self.latest, self.best) for _ in part.glob("*"))
        return saved or self.evaluation.exists()

    @contextlib.contextmanager
    def alone(self, patience: float = 0.0) -> Iterator[None]:
        """Holds the folder, which is made, for one training; readers need not ask.

        The lock goes with its process, however that ends. Where a file system has no locks, nobody
        is kept out.

        Args:
            patience: the seconds to wait for another training that holds it, as for the first host
                of the job before, which may still be ending.

        Raises:
            UserError: another training holds it, or it cannot be written.
            Lost: another training held it for all of `patience`.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                ours = stack.enter_context(files.lock(self.path / ".lock", patience))
            except OSError as error:
                ours = error.errno in NO_LOCKS
                if not ours:
                    raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
            if not ours and patience:
                raise Lost(f"{self.path}: another training has run here for {patience:.0f} s")
            if not ours:
                raise UserError(
                    f"{self.path}: another training runs here; wait until it ends, or name "
                    "another --workdir"
                )
            yield

    def require_free(self) -> None:
        """Refuses what `alone` refuses, and makes and holds nothing; errors are those of it."""
        there = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        lock = self.path / ".lock"
        if lock.exists():
            with self.alone():
                return
        if not there.is_dir():
            number = errno.EEXIST if there == self.path else errno.ENOTDIR
            raise UserError(f"{self.path}: cannot be written ({os.strerror(number)})")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"{self.path}: cannot be written (in {there}, which is read-only here)")

    def set_aside(self, when: str) -> None:
        """Gives the evaluation and the page names that say when they were made."""
        for path in (self.evaluation, self.report):
            if path.exists():
                path.replace(path.with_name(f"{path.stem} {when}{path.suffix}"))

    def described(self) -> dict[str, Any]:
        """The configuration with the names that the run's own version of this program knew."""
        return json.loads(self.config.read_text())

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """What was measured, by the name of its split; what is missing or damaged counts as none.

        Raises:
            UserError: it is there and cannot be read.
        """
        try:
            found = json.loads(self.evaluation.read_text())
        except (FileNotFoundError, ValueError, RecursionError):
            found = None
        except OSError as error:
            raise UserError(f"{self.evaluation}: cannot be read ({error.strerror})") from None
        named = found.items() if isinstance(found, dict) else ()
        return {name: _renamed(result) for name, result in named if isinstance(result, dict)}

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
        """The checkpoint that did best on the validation classes; without any, the last one."""
        return self.path / "checkpoints" / "best"

    @property
    def metrics(self) -> Path:
        """One row per logged step."""
        return self.path / "metrics.csv"

    @property
    def status(self) -> Path:
        """What the training is doing, see `training/status.py`."""
        return self.path / "status.json"

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


def _renamed(result: dict[str, Any]) -> dict[str, Any]:
    """A split's evaluation under today's names: the grains of raw pixels were once the "floor"."""
    grains = result.get("grains")
    if not isinstance(grains, dict) or "floor" not in grains:
        return result
    named = {"pixels" if name == "floor" else name: part for name, part in grains.items()}
    return result | {"grains": named}
