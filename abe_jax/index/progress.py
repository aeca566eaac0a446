"""How far the embedding of many images is: a bar on a terminal, lines in a log."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from abe_jax.training.progress import duration

EVERY = 30.0  # seconds between two lines
_log = logging.getLogger(__name__)  # a command line shows it


@contextlib.contextmanager
def embedding(total: int) -> Iterator[Callable[[int], None]]:
    """A function to be told of each batch's images; it shows the rate and the time that is left."""
    if not sys.stderr.isatty():
        yield Lines(total).told
        return
    shown = [logging.getLogger("abe_jax")]
    with (
        logging_redirect_tqdm(shown),
        tqdm(total=total, desc="embedding", unit="image") as bar,
    ):

        def told(images: int) -> None:
            bar.update(images)

        yield told


class Lines:
    """A line every half minute."""

    def __init__(self, total: int):
        self._total, self._done, self._first = total, 0, 0
        self._since = self._said = 0.0

    def told(self, images: int) -> None:
        """So many more images are embedded."""
        self._done += images
        now = time.perf_counter()
        if not self._first:  # a compilation was in it: the rate is of those behind it
            self._first, self._since, self._said = self._done, now, now
        elif now - self._said >= EVERY:
            self._said = now
            rate = (self._done - self._first) / (now - self._since)
            left = duration((self._total - self._done) / rate)
            _log.info(
                f"embedded {self._done:,} of {self._total:,} images, {rate:,.1f} images/s, "
                f"{left} left"
            )
