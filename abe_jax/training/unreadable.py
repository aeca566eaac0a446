"""Keeps account of images that could not be read."""

from abe_jax.data.datasets import Split
from abe_jax.data.loader import Batch
from abe_jax.errors import UserError
from abe_jax.run_folder import RunFolder


class Unreadable:
    """Names each unreadable image once in a file; too large a share of the split stops the run."""

    def __init__(self, folder: RunFolder, split: Split, share: float):
        self._file, self._split, self._share = folder.unreadable, split, share
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self._known = {int(line.split("\t")[0]) for line in lines}

    def note(self, batch: Batch) -> None:
        """Takes in a batch's unreadable rows.

        Raises:
            UserError: more than the configured share of the split's images are unreadable.
        """
        found = {int(i) for i in batch.instances[~batch.mask]} - self._known
        if not found:
            return
        self._known |= found
        with self._file.open("a") as file:
            for i in sorted(found):
                name = self._split.class_names[self._split.labels[i]]
                file.write(f"{i}\t{self._split.name} image {i} of class {name}\n")
        share = len(self._known) / len(self._split.labels)
        if share > self._share:
            raise UserError(
                f"{len(self._known)} of {len(self._split.labels)} images cannot be read, a share "
                f"of {share:.4f} above config.data.unreadable_share={self._share}; "
                f"they are named in {self._file}"
            )
