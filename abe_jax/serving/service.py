"""What lives as long as the server: the model, the index as it is now, and whose turn it is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from abe_jax.data.sources import folder
from abe_jax.errors import UserError
from abe_jax.evaluation import embedder
from abe_jax.index import manifest, snapshot
from abe_jax.index.snapshot import Snapshot
from abe_jax.serving import answers, thumbnails
from abe_jax.serving.answers import Answer, Eye
from abe_jax.serving.refused import Refused

WAITING = 4  # searches that wait for the one that runs; more are told to come back
KEPT = 512  # thumbnails kept in memory
DECODED = 2  # files decoded at once for thumbnails: each may be large


class Turns:
    """One at a time, a few in a queue, the others sent away."""

    def __init__(self, waiting: int):
        self._places = threading.BoundedSemaphore(waiting + 1)
        self._one = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A turn, waited for; raises `Refused` where the queue is full."""
        if not self._places.acquire(blocking=False):
            raise Refused(503, "busy: other searches are waiting, try again in a moment")
        try:
            with self._one:
                yield
        finally:
            self._places.release()

    def close(self, seconds: float) -> None:
        """Takes the last turn, if it comes within so many seconds."""
        self._one.acquire(timeout=seconds)


class Service:
    """An index and its model, answering; safe to use from several threads."""

    def __init__(self, index: Path, k: int):
        """Opens the index; raises UserError where it or its model cannot be read."""
        self._folder, self._k = index, k
        self._snapshot = snapshot.read(index)
        self._eye = answers.opened(embedder.load(index / "model"))
        if not self._fits(self._snapshot):
            raise UserError(f"{index}: its vectors are of another model than the one in model/")
        self._turns = Turns(WAITING)
        self._reading = threading.Lock()
        self._decoding = threading.Semaphore(DECODED)
        self._thumbnail = lru_cache(KEPT)(self._made)

    def warm(self) -> None:
        """Compiles what a search needs, so that the first does not wait for it."""
        data = self._eye.embedder.config.data
        grey = np.full((data.size, data.size, data.channels), 128, np.uint8)
        self.search(cv2.imencode(".png", grey)[1].tobytes())

    def search(self, encoded: bytes) -> Answer:
        """The answer to an uploaded image."""
        return self._answer(lambda eye, now: answers.of_image(eye, now, encoded, self._k))

    def like(self, row: int) -> Answer:
        """The answer to an image of the index."""
        return self._answer(lambda eye, now: answers.of_row(eye, now, row, self._k))

    def about(self) -> Answer:
        """What the index holds now."""
        return answers.about(self._now())

    def thumbnail(self, row: int) -> thumbnails.Picture:
        """An image of the index, small."""
        now = self._now()
        answers.require(now, row)
        path = now.row(row).path
        return self._thumbnail(path, thumbnails.stamp(path))

    def rest(self, seconds: float) -> None:
        """Waits so long for the search that runs, and lets no other begin."""
        self._turns.close(seconds)

    def _made(self, path: str, _: tuple[int, int] | None) -> thumbnails.Picture:
        with self._decoding:
            return thumbnails.thumbnail(folder.read(Path(path)))

    def _answer(self, ask: Callable[[Eye, Snapshot], Answer]) -> Answer:
        with self._turns.one():
            return ask(self._eye, self._now())

    def _now(self) -> Snapshot:
        """The index as it is now: read again where index.json is another."""
        with self._reading:
            try:
                if manifest.load(self._folder) != self._snapshot.manifest:
                    self._snapshot = snapshot.read(self._folder)
            except UserError as error:
                raise Refused(503, str(error)) from error
            if self._fits(self._snapshot):
                return self._snapshot
        raise Refused(409, "the index is of another model now: start the server again")

    def _fits(self, now: Snapshot) -> bool:
        return now.spec.fingerprint == self._eye.embedder.fingerprint
