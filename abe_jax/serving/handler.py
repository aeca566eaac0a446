"""One request: its route, whether it is allowed, and its response. A connection carries one."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import TYPE_CHECKING, Any

from abe_jax.report import style
from abe_jax.serving import guard
from abe_jax.serving.connection import MOST_HEAD, Deadlined, drain
from abe_jax.serving.refused import Refused
from abe_jax.serving.thumbnails import Body

if TYPE_CHECKING:
    from abe_jax.serving.server import Server

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # the next index at this address numbers its images alike
}


def pages() -> dict[str, Body]:
    """The files of the page by their paths."""
    texts = {
        "/": ("text/html", _text("page.html")),
        "/page.css": ("text/css", style.css() + _text("page.css")),
        "/page.js": ("text/javascript", _text("page.js")),
    }
    return {
        path: Body(f"{media}; charset=utf-8", text.encode())
        for path, (media, text) in texts.items()
    }


def _text(name: str) -> str:
    return resources.files("abe_jax.serving").joinpath(name).read_text("utf-8")


class Handler(BaseHTTPRequestHandler):
    """Answers the one request of a connection, whatever bytes it consists of."""

    server: "Server"
    raw_requestline: bytes

    def setup(self) -> None:
        """Reads until a deadline, where a time-out would begin anew with every byte."""
        super().setup()
        self._reader = Deadlined(self.connection, self.server.head, MOST_HEAD)
        self.rfile = io.BufferedReader(self._reader)

    def handle(self) -> None:
        """Reads the head in one of the places for that, whose oldest gives way to a new one."""
        with contextlib.ExitStack() as self._reading:
            self._reading.enter_context(self.server.heads.one(self._reader))
            super().handle()

    def parse_request(self) -> bool:
        """Whether there is a request to answer; one without a version, or of HTTP/0, is not."""
        words = self.raw_requestline.split()
        if len(words) == 2 or (words and words[-1].startswith(b"HTTP/0")):
            self.requestline = self.command = ""
            self.send_error(400)
            return False
        understood = super().parse_request()
        self._reading.close()
        self._reader.extend(self.server.patience)
        return understood

    def finish(self) -> None:
        """Closes the connection only when the answer has arrived."""
        try:
            super().finish()
        finally:
            drain(self.connection)

    def do_GET(self) -> None:
        """The page, its files, its thumbnails."""
        self._answered(self._get)

    def do_POST(self) -> None:
        """A search."""
        self._answered(self._post)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers in JSON what http.server itself refuses: an unreadable line, another method."""
        try:
            words = HTTPStatus(code).phrase.lower()
        except ValueError:
            words = "refused"
        self._send(_error(words), code)

    def version_string(self) -> str:
        """The name of the server, without versions of Python or of anything else."""
        return "abe_jax"

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: what matters is in the response."""

    def _answered(self, make: Callable[[], Body]) -> None:
        status = 200
        try:
            guard.check_host(self.headers, self.server.host)
            answer = make()
        except Refused as refused:
            status, answer = refused.status, _error(refused.reason)
        except TimeoutError:
            status, answer = 408, _error("the request took too long to arrive")
        except ConnectionError:
            raise  # the other side is gone
        except Exception as error:
            # Some library failed on this image: one line there and here, and the next request.
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status, answer = 500, _error("this went wrong; the server's terminal says how")
        self._send(answer, status)

    def _get(self) -> Body:
        path = self.path.partition("?")[0]
        guard.check_origin(self.headers, opens=path == "/", changes=False)
        if path in self.server.pages:
            return self.server.pages[path]
        if path == "/about":
            return _as_json({**self.server.service.about(), "upload": guard.UPLOAD})
        return self.server.service.thumbnail(_id(path, "/thumbnail/"))

    def _post(self) -> Body:
        guard.check_origin(self.headers, opens=False, changes=True)
        expected = guard.length(self.headers)
        if self.path != "/search":
            return _as_json(self.server.service.like(_id(self.path, "/like/")))
        with self.server.uploads.one(self._reader):
            encoded = self.rfile.read(expected)
        if len(encoded) < expected:
            raise Refused(400, f"the image ended after {len(encoded)} of {expected} bytes")
        return _as_json(self.server.service.search(encoded))

    def _send(self, answer: Body, status: int) -> None:
        self.close_connection = True
        self.request_version = (
            "HTTP/1.0"  # http.server sends no headers where the request names no version
        )
        self.connection.settimeout(self.server.patience)  # for all of the answer
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)


def _as_json(content: dict[str, Any]) -> Body:
    return Body("application/json", json.dumps(content, allow_nan=False).encode() + b"\n")


def _error(reason: str) -> Body:
    return _as_json({"error": " ".join(reason.split())})


def _id(path: str, before: str) -> int:
    """The number of a row after `before`; any other path is refused."""
    digits = path.removeprefix(before)
    if digits == path or not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise Refused(404, "nothing is here")
    return int(digits)
