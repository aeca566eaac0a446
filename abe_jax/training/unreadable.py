"""Keeps account of images that could not be read, and of damaged ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from abe_jax import hosts
from abe_jax.data.images import heif
from abe_jax.data.inspected import Inspected
from abe_jax.data.loader import Batch
from abe_jax.data.split import Split
from abe_jax.errors import UserError
from abe_jax.training.run_folder import RunFolder


class Unreadable:
    """Names each unreadable image once in a file; too large a share of the split stops the run.

    The file outlives a run that is stopped and resumed; the share is of what this process found,
    so that images repaired in the meantime no longer count. Images that are damaged inside, which
    are used unless the data refuses them, are named in a file of their own and stop nothing.
    """

    def __init__(self, folder: RunFolder, split: Split, share: float, say: Callable[[str], None]):
        self._folder, self._split, self._share, self._say = folder, split, share, say
        self._by_this_host = np.zeros(len(split.labels), bool)
        self._known = self._by_this_host.copy()  # of all hosts
        self._known_damaged = self._known.copy()

    def note(self, batch: Batch) -> None:
        """Notes the unreadable rows of a batch that has no padding."""
        self._by_this_host[batch.image_ids[~batch.mask]] = True

    def settle(self) -> None:
        """Writes down what was noted since the last call; all hosts call it at the same step.

        Raises:
            UserError: more than the configured share of the split's images are unreadable.
        """
        self.add(np.flatnonzero(hosts.gather_rows(self._by_this_host[None]).any(axis=0)))

    def add(self, indices: Int[np.ndarray, " k"]) -> None:
        """Writes down images that no host could read; all hosts call it, errors as of `settle`."""
        self._settle_damaged()
        if self._known[indices].all():
            return
        self._known[indices] = True
        count, images = int(self._known.sum()), len(self._known)
        named = f"{self._folder.unreadable}{self._missing_package(indices)}"
        if hosts.is_first():
            self._append(self._folder.unreadable, indices)
        share = count / images
        if share > self._share:
            raise UserError(
                f"{count} of {images} images of {self._split.name} cannot be read, a share of "
                f"{share:.4f} above unreadable_share={self._share}; "
                f"they are named in {named}"
            )
        self._say(f"warning: {count} of {images} images cannot be read, see {named}")

    def _settle_damaged(self) -> None:
        records = self._split.records
        if not isinstance(records, Inspected):
            return
        damaged = np.any(hosts.gather_rows(records.damaged[None]), axis=0)
        new = np.flatnonzero(damaged & ~self._known_damaged)
        if not len(new):
            return
        self._known_damaged |= damaged
        if hosts.is_first():
            self._append(self._folder.damaged, new)
        count, images = int(self._known_damaged.sum()), len(records)
        self._say(
            f"warning: {count} of {images} images are damaged inside, see {self._folder.damaged}"
        )

    def _missing_package(self, indices: Int[np.ndarray, " k"]) -> str:
        """What would read the first of them that needs a package which is not installed."""
        missing = (heif.missing(self._split.records[int(i)]) for i in indices)
        reason = next(filter(None, missing), "")
        return f"; {reason}" if reason else ""

    def _append(self, path: Path, indices: Int[np.ndarray, " k"]) -> None:
        known = set(path.read_text().splitlines()) if path.exists() else set()
        names, labels = self._split.class_names, self._split.labels
        paths = self._split.paths
        lines = [
            f"{self._split.name}\t{i}\tof class {names[labels[i]]}"
            + (f"\t{paths[i]}" if paths else "")
            for i in indices
        ]
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines if line not in known)
