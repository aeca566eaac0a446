"""How long one connection may take: in all, not only between two of its bytes."""

import io
import socket
import time

PATIENCE = 20.0  # seconds from a connection's first moment to the last byte of its request
LINGER = 2.0  # seconds for which the rest of a refused request is read and dropped


class Deadlined(io.RawIOBase):
    """What a socket receives until a deadline, after which reading raises TimeoutError.

    A time-out of the socket alone begins anew with every byte, so a sender of one byte a second
    would hold its connection for ever.
    """

    def __init__(self, connection: socket.socket, seconds: float):
        self._connection = connection
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        """Fills the buffer with what has come, waiting for it until the deadline."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


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
