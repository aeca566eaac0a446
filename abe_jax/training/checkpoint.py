"""A run's checkpoints by Orbax: the latest states and the best, each verified by a digest."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from abe_jax import hosts
from abe_jax.errors import UserError

if TYPE_CHECKING:
    from abe_jax.training.state import TrainState


class Checkpoints:
    """The checkpoints in one folder, by step.

    A checkpoint is the train state and a small JSON (`about`). Orbax writes beside and renames, so
    a kill leaves the one before; a digest over every array is kept with it, so that a file cut
    short later is found out instead of being read as zeros.
    """

    def __init__(self, folder: Path, keep: int, *, writes: bool = False):
        """Opens the folder, which is made.

        Args:
            folder: of the checkpoints.
            keep: how many of the latest stay.
            writes: it is this process's alone, as a training's is: what a kill left half written
                is deleted, for it would never be looked at and fill the disk.
        """
        import orbax.checkpoint as ocp  # here: opening an index needs only `digest`

        self._args = ocp.args
        self._folder = folder.absolute()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                create=True,
                cleanup_tmp_directories=writes,
                # Of several hosts all wait for it. A thread that fails on one of them would wait at
                # another of Orbax's barriers than the others, for minutes, before it says why.
                enable_async_checkpointing=jax.process_count() == 1,
            ),
            item_names=("state", "about"),
        )

    def steps(self) -> list[int]:
        """The steps that can be restored, rising."""
        return sorted(self._manager.all_steps())

    @staticmethod
    def steps_in(folder: Path) -> list[int]:
        """The steps that a folder holds, rising; none where there is no such folder.

        Those that Orbax finds, by their names: it writes under another one and renames at the end.
        Asked without it, since it takes half a second to import.
        """
        if not folder.is_dir():
            return []
        return sorted(
            int(at.name) for at in folder.iterdir() if at.is_dir() and at.name.isdecimal()
        )

    def save(self, state: "TrainState", about: dict[str, Any]) -> None:
        """Starts writing; `state` is unreplicated NumPy arrays that nobody changes any more."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return  # a resumed run reaches this step again: the same state, or a rounding away
        about = about | {"step": step, "digest": digest(state)}
        items = self._args.Composite(
            state=self._args.StandardSave(state), about=self._args.JsonSave(about)
        )
        hosts.reached(f"the checkpoint of step {step}")
        with self._written():
            self._manager.save(step, args=items)

    def restore(self, like: "TrainState", step: int | None = None) -> "tuple[TrainState, dict]":
        """The state and its `about`, of one step or the latest.

        Raises:
            UserError: there is none, or it is damaged.
        """
        step = self._manager.latest_step() if step is None else step
        if step is None:
            raise UserError(f"{self._folder}: no checkpoint in it; train the run first")
        abstract = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        items = self._args.Composite(
            state=self._args.StandardRestore(abstract), about=self._args.JsonRestore()
        )
        with self._whole(step):
            restored: Any = self._manager.restore(step, args=items)
            if digest(restored.state) != dict(restored.about)["digest"]:
                raise ValueError("its content is not what was written")
            return restored.state, dict(restored.about)

    def about(self, step: int) -> dict[str, Any]:
        """The JSON of one checkpoint alone; errors are those of `restore`."""
        items = self._args.Composite(about=self._args.JsonRestore())
        with self._whole(step):
            restored: Any = self._manager.restore(step, args=items)
            return dict(restored.about)

    def wait(self) -> None:
        """Returns when everything has been written.

        Raises:
            UserError: it could not be written, say because the disk is full.
        """
        with self._written():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes writing and frees the manager's threads; errors are those of `wait`."""
        with self._written():  # closing writes as well: what Orbax knows of the last checkpoint
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()

    @contextlib.contextmanager
    def _whole(self, step: int) -> Iterator[None]:
        # Orbax, TensorStore and json raise many kinds for a damaged file, hence the broad clause.
        try:
            yield
        except Exception as error:
            if hosts.is_loss(error):
                raise
            raise UserError(
                f"{self._folder / str(step)}: the checkpoint is damaged; delete that folder and "
                f"run the training command again, which goes on from what is left ({_line(error)})"
            ) from None

    def _give_room(self) -> None:
        """Deletes what a failed write left, so that a full disk has room to say why."""
        if hosts.is_first():
            for left in self._folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # as many kinds as for reading
            if hosts.is_loss(error):
                raise
            self._give_room()
            raise UserError(
                f"{self._folder}: a checkpoint cannot be written; those before are intact "
                f"({_line(error)})"
            ) from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def digest(tree: Any) -> str:
    """The SHA-256, in hexadecimal, of the names, types, shapes and values of a tree of arrays."""
    hashed = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        hashed.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()
