"""Keeps account of images that could not be read."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from abe_jax import hosts
from abe_jax.data.loader import Batch
from abe_jax.data.split import Split
from abe_jax.errors import UserError
from abe_jax.training.run_folder import RunFolder


class Unreadable:
    """Names each unreadable image once in a file; too large a share of the split stops the run.

    The file outlives a run that is stopped and resumed; the share is of what this process found,
    so that images repaired in the meantime no longer count.
    """

    def __init__(self, folder: RunFolder, split: Split, share: float, say: Callable[[str], None]):
        self._file, self._split, self._share, self._say = folder.unreadable, split, share, say
        self._by_this_host = np.zeros(len(split.labels), bool)
        self._known = self._by_this_host.copy()  # of all hosts

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
        """Writes down images that no host could read; errors are those of `settle`."""
        if self._known[indices].all():
            return
        self._known[indices] = True
        count, images = int(self._known.sum()), len(self._known)
        if hosts.is_first():
            self._append(indices)
        share = count / images
        if share > self._share:
            raise UserError(
                f"{count} of {images} images of {self._split.name} cannot be read, a share of "
                f"{share:.4f} above unreadable_share={self._share}; "
                f"they are named in {self._file}"
            )
        self._say(f"warning: {count} of {images} images cannot be read, see {self._file}")

    def _append(self, indices: Int[np.ndarray, " k"]) -> None:
        known = set(self._file.read_text().splitlines()) if self._file.exists() else set()
        names, labels = self._split.class_names, self._split.labels
        paths = self._split.paths
        lines = [
            f"{self._split.name}\t{i}\tof class {names[labels[i]]}"
            + (f"\t{paths[i]}" if paths else "")
            for i in indices
        ]
        with self._file.open("a") as file:
            file.writelines(f"{line}\n" for line in lines if line not in known)
