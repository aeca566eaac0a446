"""How long one connection may take, in all and not only between two of its bytes; how many."""

import contextlib
import io
import math
import socket
import threading
import time
from collections.abc import Iterator

from abe_jax.serving.refused import Refused

HEAD = 5.0  # seconds from a connection's first moment to the last byte of its request's head
MOST_HEAD = 2**18  # bytes of it
PATIENCE = 20.0  # seconds from there to the last byte of its body
LINGER = 2.0  # seconds for which the rest of a refused request is read and dropped


class Deadlined(io.RawIOBase):
    """What a socket receives until a deadline, after which reading raises TimeoutError.

    A time-out of the socket alone begins anew with every byte, so a sender of one byte a second
    would hold its connection for ever.
    """

    def __init__(self, connection: socket.socket, seconds: float, most: float = math.inf):
        self._connection = connection
        self._end = time.monotonic() + seconds
        self._left = most  # bytes that may still come
        self._dropped = False

    def extend(self, seconds: float) -> None:
        """Begins a new deadline, without a bound on the bytes."""
        self._end, self._left = time.monotonic() + seconds, math.inf

    def drop(self) -> None:
        """Ends a read that is waiting, and any later one, at once."""
        self._dropped = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        """Fills the buffer with what has come, waiting for it until the deadline."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer)
        if self._dropped:
            raise ConnectionAbortedError("another connection took its place")
        self._left -= count
        if self._left < 0:
            raise ConnectionAbortedError("a head without an end")
        return count


class Slots:
    """Room for some connections that are being read; where it is full, the oldest gives way."""

    def __init__(self, most: int, safe: float):
        """Room for `most`, each of which nobody takes away for `safe` seconds."""
        self._most, self._safe = most, safe
        self._lock = threading.Lock()
        self._since: dict[Deadlined, float] = {}  # the oldest first

    @contextlib.contextmanager
    def one(self, reader: Deadlined) -> Iterator[None]:
        """A place; raises `Refused` where all are taken and safe."""
        with self._lock:
            if len(self._since) >= self._most and not self._drop_oldest():
                raise Refused(503, "busy: other images are being sent, try again in a moment")
            self._since[reader] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._since.pop(reader, None)

    def drop_oldest(self) -> bool:
        """Takes the place that was taken first; False where there is none or it is safe."""
        with self._lock:
            return self._drop_oldest()

    def _drop_oldest(self) -> bool:
        oldest = next(iter(self._since), None)
        if oldest is None or time.monotonic() - self._since[oldest] < self._safe:
            return False
        del self._since[oldest]
        oldest.drop()
        return True


def drain(connection: socket.socket) -> None:
    """Reads and drops what still comes, for a short while, after the response was sent.

    Closing with bytes unread resets the connection, and the other side would lose the response.
    """
    try:
        connection.shutdown(socket.SHUT_WR)
        rest = Deadlined(connection, LINGER)
        buffer = bytearray(2**16)
        while rest.readinto(buffer):
            pass
    except OSError:  # it is gone, or was too slow
        pass
