"""The server behind the page: an address, threads, and how many there are at once.

Python's own socketserver and http.server: a page for one user on one machine needs a dozen short
answers, no framework. What these leave open is closed here: whose requests count (guard.py), how
long one may take (connection.py), how many there are at once.
"""

import contextlib
import socket
import socketserver
import sys
import threading
from typing import Any

from abe_jax.errors import UserError
from abe_jax.serving.connection import HEAD, PATIENCE, Slots
from abe_jax.serving.handler import Handler, pages
from abe_jax.serving.service import Service

CONNECTIONS = 256  # at once; most of them wait, each in a thread, for a head to arrive
UPLOADS = 16  # read at once; with guard.UPLOAD they bound the memory that uploads take
SAFE = 5.0  # seconds in which an upload is not dropped for another
GIVING_WAY = 1.0  # seconds in which a dropped connection ends


class Server(socketserver.ThreadingTCPServer):
    """Listens on one address and answers for a service."""

    allow_reuse_address = True
    allow_reuse_port = False
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, service: Service, patience: float = PATIENCE):
        """Listens; `patience` is the seconds that a request's body may take to arrive.

        Raises:
            UserError: the address cannot be listened on.
        """
        self.host = host.lower()  # as browsers write it
        self.service, self.patience, self.pages = service, patience, pages()
        self.head = min(HEAD, patience)
        self.heads, self.uploads = Slots(CONNECTIONS, 0.0), Slots(UPLOADS, SAFE)
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.address_family = addresses[0][0]
            super().__init__((str(addresses[0][4][0]), port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot listen on {host} port {port} ({reason}); "
                "--port takes another, 0 any that is free"
            ) from error

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for the connection, if need be in place of the slowest head.

        Where all others have sent their heads, it answers 503.
        """
        if self._free.acquire(blocking=False) or (
            self.heads.drop_oldest() and self._free.acquire(timeout=GIVING_WAY)
        ):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread to be had
                self._free.release()
                raise
            return
        request.settimeout(0.1)
        with contextlib.suppress(OSError):
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers one connection, in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a connection that broke; prints a line for any other error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
