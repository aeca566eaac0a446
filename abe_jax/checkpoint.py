"""A run's checkpoints through Orbax: the latest states and the best one, each proved whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from abe_jax.errors import UserError
from abe_jax.step import TrainState


class Checkpoints:
    """The checkpoints in one folder, by step.

    A checkpoint is the train state and a small JSON (`about`). Orbax writes beside and renames, so
    a kill leaves the one before; a digest over every array is kept with it, so that a file cut
    short later is found out instead of being read as zeros.
    """

    def __init__(self, folder: Path, keep: int):
        self._folder = folder.absolute()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
            item_names=("state", "about"),
        )

    def steps(self) -> list[int]:
        """The steps that can be restored, rising."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, about: dict[str, Any]) -> None:
        """Starts writing; `state` is unreplicated NumPy arrays that nobody changes any more."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return  # a resumed run comes by again: the state is the same to the bit
        about = about | {"step": step, "digest": _digest(state)}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about)
        )
        self._manager.save(step, args=items)

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, dict]:
        """The state and its `about`, of one step or the latest.

        Raises:
            UserError: there is none, or it is damaged.
        """
        step = self._manager.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{self._folder}: no checkpoint in it; train the run first")
        damaged = (
            f"{self._folder / str(step)}: the checkpoint is damaged; delete that folder to go back "
            f"to the one before"
        )
        abstract = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), about=ocp.args.JsonRestore()
        )
        try:
            restored = self._manager.restore(step, args=items)
        except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged file
            reason = str(error).strip().splitlines()[0][:120]
            raise UserError(f"{damaged} ({reason})") from None
        if _digest(restored.state) != restored.about["digest"]:
            raise UserError(f"{damaged} (its content is not what was written)")
        return restored.state, dict(restored.about)

    def about(self, step: int) -> dict[str, Any]:
        """The JSON of one checkpoint alone."""
        items = ocp.args.Composite(about=ocp.args.JsonRestore())
        try:
            return dict(self._manager.restore(step, args=items).about)
        except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
            reason = str(error).strip().splitlines()[0][:120]
            raise UserError(
                f"{self._folder / str(step)}: the checkpoint is damaged; delete that folder "
                f"({reason})"
            ) from None

    def wait(self) -> None:
        """Returns when everything has been written."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes writing and frees the manager's threads."""
        self._manager.wait_until_finished()
        self._manager.close()


def _digest(state: TrainState) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
