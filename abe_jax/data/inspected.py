"""Records that note which of them are damaged, when they are read."""

import threading

import numpy as np
from jaxtyping import Bool

from abe_jax.data.images import damage
from abe_jax.data.split import Records
from abe_jax.errors import require

DAMAGED = ("use", "refuse")  # what becomes of an image whose data is damaged inside


class Inspected:
    """Encoded images, each looked at once for damage inside, by `images.damage`.

    Such an image can still be decoded, with a part of it grey or shifted. `refuse` gives it empty,
    as an image that cannot be read; `use` gives it as it is.

    Raises:
        ArgumentError: `damaged` is neither.
    """

    def __init__(self, records: Records, damaged: str = "use"):
        require("damaged", damaged, DAMAGED)
        self._records, self._refuses = records, damaged == "refuse"
        self._known = np.zeros(len(records), bool)
        self._damaged = np.zeros(len(records), bool)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> bytes:
        encoded = self._records[index]
        if not self._known[index]:
            damaged = bool(damage.found(encoded))
            with self._lock:
                self._known[index], self._damaged[index] = True, damaged
        return b"" if self._refuses and self._damaged[index] else encoded

    @property
    def damaged(self) -> Bool[np.ndarray, " n"]:
        """Which of those read so far are damaged."""
        with self._lock:
            return self._damaged.copy()
