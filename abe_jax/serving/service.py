"""What lives as long as the server: the index with its network, and whose turn it is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from abe_jax.data.sources import image_files
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.index import Index, OtherNetworkError
from abe_jax.index.snapshot import Snapshot
from abe_jax.serving import responses, thumbnails, uploads
from abe_jax.serving.refused import Refused
from abe_jax.serving.responses import Response

WAITING = 4  # searches that wait for the one that runs; more are told to come back
KEPT = 512  # thumbnails kept in memory
DECODED = 2  # files decoded at once for thumbnails: each may be large


class Turns:
    """One at a time, a few in a queue, the others sent away."""

    def __init__(self, waiting: int):
        self._queue = threading.BoundedSemaphore(waiting + 1)
        self._one = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A turn, waited for; raises `Refused` where the queue is full."""
        if not self._queue.acquire(blocking=False):
            raise Refused(503, "busy: other searches are waiting, try again in a moment")
        try:
            with self._one:
                yield
        finally:
            self._queue.release()

    def close(self, seconds: float) -> None:
        """Takes the last turn, if it comes within so many seconds."""
        self._one.acquire(timeout=seconds)


class Service:
    """An index, answering; safe to use from several threads."""

    def __init__(self, index: Index, k: int):
        """Answers with `k` neighbours."""
        self._index, self._k = index, k
        self._turns = Turns(WAITING)
        self._decoding = threading.Semaphore(DECODED)
        self._thumbnail = lru_cache(KEPT)(self._read_thumbnail)

    def warm_up(self) -> None:
        """Compiles what a search needs, so that the first does not wait for it.

        Raises UserError where the index cannot be searched.
        """
        image = self._index.embedder.network.preprocessing
        grey = np.full((*image.shape, image.channels), 128, np.uint8)
        try:
            self.search(cv2.imencode(".png", grey)[1].tobytes())
        except Refused as error:
            raise UserError(error.reason) from error

    def search(self, encoded: bytes) -> Response:
        """The response to an uploaded image; one of too many pixels is refused undecoded."""
        uploads.check_size(encoded)
        return self._respond(
            lambda embedder, now: responses.to_upload(embedder, now, encoded, self._k)
        )

    def like(self, id_: int) -> Response:
        """The response to an image of the index."""
        return self._respond(lambda embedder, now: responses.to_row(embedder, now, id_, self._k))

    def about(self) -> Response:
        """What the index holds now."""
        with _refusing():
            return responses.about(self._index.snapshot)

    def thumbnail(self, id_: int) -> thumbnails.Body:
        """An image of the index, small."""
        with _refusing():
            now = self._index.snapshot
            responses.require_row(now, id_)
            path = now.row(id_).path
        return self._thumbnail(path, thumbnails.stamp(path))

    def close(self, seconds: float) -> None:
        """Waits so long for the search that runs, and lets no other begin."""
        self._turns.close(seconds)

    def _read_thumbnail(self, path: str, _: tuple[int, int] | None) -> thumbnails.Body:
        with self._decoding:
            return thumbnails.thumbnail(image_files.read(Path(path)))

    def _respond(self, ask: Callable[[Embedder, Snapshot], Response]) -> Response:
        with self._turns.one(), _refusing():
            return ask(self._index.embedder, self._index.snapshot)


@contextmanager
def _refusing() -> Iterator[None]:
    """Answers what is wrong with the index: of another network, gone, damaged, cut while in use."""
    try:
        yield
    except OtherNetworkError as error:
        raise Refused(409, "the index is of another model now: start the server again") from error
    except UserError as error:
        raise Refused(503, str(error)) from error
