"""A validated training, ready to begin or to go on."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from types import TracebackType

from abe_jax import training
from abe_jax.runs.run import Run
from abe_jax.training import Recipe
from abe_jax.training.loop import Sources
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.status import Status, words
from abe_jax.training.stop import StopRequest


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """A recipe, the images that it is applied to, and the folder of the run.

    The folder is this training's alone until `close`, or the end of a `with` block.
    """

    recipe: Recipe
    sources: Sources
    folder: RunFolder
    load: Callable[[], Run]  # reads the run that is in the folder when it has been trained
    listings: Mapping[str, str]  # what each split holds, in words that hosts compare
    status: Status

    lock: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> "Training":
        """The training, for a `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Closes it; its status.json then says how it ended."""
        self.lock.__exit__(kind, error, at)

    def close(self) -> None:
        """Leaves the folder to others."""
        self.lock.close()

    def fit(self, stop: StopRequest, say: Callable[[str], None]) -> bool:
        """Trains to the end, or until asked to stop (False); see `abe_jax.training.fit`.

        From here until this is closed `status` keeps the folder's status.json.
        """
        status = self.lock.enter_context(self.status)
        try:
            done = training.fit(self.recipe, self.sources, self.folder, stop, say, status)
        except Exception as error:  # a comparison goes on after a training that diverged
            status.failed(words(error))
            raise
        if not done:
            status.stopped()
        return done
