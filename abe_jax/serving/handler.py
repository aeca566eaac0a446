"""One request: its route, whether it is let through, and its answer. A connection carries one."""

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
from abe_jax.serving.connection import Deadlined, drain
from abe_jax.serving.refused import Refused
from abe_jax.serving.thumbnails import Picture

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


def pages() -> dict[str, Picture]:
    """The files of the page by their paths."""
    texts = {
        "/": ("text/html", _text("page.html")),
        "/page.css": ("text/css", style.css() + _text("page.css")),
        "/page.js": ("text/javascript", _text("page.js")),
    }
    return {
        path: Picture(f"{media}; charset=utf-8", text.encode())
        for path, (media, text) in texts.items()
    }


def _text(name: str) -> str:
    return resources.files("abe_jax.serving").joinpath(name).read_text("utf-8")


class Handler(BaseHTTPRequestHandler):
    """Answers one request of one connection, whatever it holds."""

    server: "Server"

    def setup(self) -> None:
        """Reads by a deadline instead of a time-out."""
        super().setup()
        self.rfile = io.BufferedReader(Deadlined(self.connection, self.server.patience))

    def finish(self) -> None:
        """Takes leave so that the answer arrives."""
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
        """What http.server itself refuses (a line it cannot read, another method), as JSON."""
        try:
            words = HTTPStatus(code).phrase.lower()
        except ValueError:
            words = "refused"
        self._send(_error(words), code)

    def version_string(self) -> str:
        """Who answers, without the versions of what."""
        return "abe_jax"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what matters is in the answer."""

    def _answered(self, make: Callable[[], Picture]) -> None:
        status = 200
        try:
            guard.check_host(self.headers, self.server.host)
            answer = make()
        except Refused as refused:
            status, answer = refused.status, _error(refused.reason)
        except TimeoutError:
            status, answer = 408, _error("the request took too long to arrive")
        except ConnectionError:
            raise  # nobody is there to answer
        except Exception as error:
            # Whatever an image made a library do: one line there and here, and the next request.
            print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status, answer = 500, _error("this went wrong; the server's terminal says how")
        self._send(answer, status)

    def _get(self) -> Picture:
        path = self.path.partition("?")[0]
        guard.check_origin(self.headers, opens=path == "/", changes=False)
        if path in self.server.pages:
            return self.server.pages[path]
        if path == "/about":
            return _as_json({**self.server.service.about(), "upload": guard.UPLOAD})
        return self.server.service.thumbnail(_id(path, "/thumbnail/"))

    def _post(self) -> Picture:
        guard.check_origin(self.headers, opens=False, changes=True)
        expected = guard.length(self.headers)
        if self.path != "/search":
            return _as_json(self.server.service.like(_id(self.path, "/like/")))
        encoded = self.rfile.read(expected)
        if len(encoded) < expected:
            raise Refused(400, f"the image ended after {len(encoded)} of {expected} bytes")
        return _as_json(self.server.service.search(encoded))

    def _send(self, answer: Picture, status: int) -> None:
        self.close_connection = True
        self.request_version = "HTTP/1.0"  # a line without one would be answered without headers
        self.connection.settimeout(self.server.patience)  # for all of the answer
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)


def _as_json(found: dict[str, Any]) -> Picture:
    return Picture("application/json", json.dumps(found, allow_nan=False).encode() + b"\n")


def _error(reason: str) -> Picture:
    return _as_json({"error": " ".join(reason.split())})


def _id(path: str, before: str) -> int:
    """The number of a row behind `before`; anything else is no path of ours."""
    told = path.removeprefix(before)
    if told == path or not (told.isascii() and told.isdecimal() and len(told) < 19):
        raise Refused(404, "nothing is here")
    return int(told)
