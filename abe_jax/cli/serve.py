"""Opens an index to the browser.

A page on this machine alone: drop an image there and see its neighbours, where each learner looks
and how each ranks them. With --host it listens on another address, and whoever reaches that can
search the index and see its images. What may be sent to it is bounded: serving/guard.py in bytes,
serving/uploads.py in pixels, serving/connection.py in seconds.
"""

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from abe_jax.cli import command
from abe_jax.errors import UserError
from abe_jax.index import manifest

if TYPE_CHECKING:
    from abe_jax.serving.server import Server

PORT = 8321
NEIGHBOURS = 12
REST = 30.0  # seconds that the search which runs at the end is waited for


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser("serve", __doc__, example=f"--index photos.index --port {PORT}")
    made.add_argument(
        "--index", required=True, type=Path, metavar="INDEX", help="the index's folder"
    )
    made.add_argument(
        "--port",
        type=int,
        default=PORT,
        metavar="PORT",
        help=f"0 takes any that is free; default: {PORT}",
    )
    made.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to listen on; default: 127.0.0.1, this machine alone",
    )
    made.add_argument(
        "--k",
        type=int,
        default=NEIGHBOURS,
        metavar="K",
        help=f"neighbours shown; default: {NEIGHBOURS}",
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: an index is searched by its own model's config")
    if not 0 <= arguments.port < 2**16:
        raise UserError(f"--port {arguments.port}: 0 to {2**16 - 1}")
    if not 1 <= arguments.k <= 1000:
        raise UserError(f"--k {arguments.k}: 1 to 1000 neighbours")
    manifest.load(arguments.index)
    signal.signal(signal.SIGTERM, _end)
    serve(arguments.index, arguments.host, arguments.port, arguments.k)


def serve(index: Path, host: str, port: int, k: int) -> None:
    """Answers until SIGTERM or Ctrl-C.

    Raises:
        UserError: no index there, or an address that cannot be listened on.
    """
    from abe_jax.config import stored
    from abe_jax.serving import guard
    from abe_jax.serving.server import Server
    from abe_jax.serving.service import Service

    service = Service(stored.index(index), k)
    with Server(host, port, service) as server:
        command.say(f"compiling the model of {index}")
        service.warm_up()
        if not guard.is_loopback(server.host):
            command.say("open to other machines: whoever reaches this address sees the images")
        command.say(f"{server.address}  (Ctrl-C ends)")
        ended = _until_signal(server)
        service.close(REST)
    if ended == signal.SIGINT:
        raise KeyboardInterrupt


def _until_signal(server: "Server") -> int:
    """Answers until SIGTERM or SIGINT, and says which; the signal breaks into no request."""
    ended = []

    def end(number: int, _: object) -> None:
        ended.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one does not wait
        signal.signal(signal.SIGTERM, _end)
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    server.serve_forever()
    return ended[0]


def _end(*_: object) -> NoReturn:
    sys.exit(0)
