"""Which requests are answered, and how large an upload may be, by their headers alone.

A page of another site can send requests to this server through its visitor's browser: under its own
name (`Origin` and `Sec-Fetch-Site` show that) or, once that name points to this machine, under ours
(`Host` shows that). Neither may search here or see a picture.
"""

import ipaddress
import re
from email.message import Message
from urllib.parse import urlsplit

from abe_jax.serving.refused import Refused

HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
UPLOAD = 32 * 2**20  # bytes of an image
_BLANKS = " \t"  # that may stand around a header's value (RFC 9110, section 5.5)


def is_address(name: str) -> bool:
    """Whether a host is an IP address, not a name that somebody could point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches a host."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def check_host(headers: Message, bound: str) -> None:
    """Refuses a request meant for another host than the one that is served (`bound`).

    Ports are not compared: behind a forwarded port the browser knows another than we do.
    """
    name = _host(headers)
    if name in (bound, "localhost") or is_loopback(name):
        return
    # Bound to more than loopback, every address of this machine is ours; names are not, since
    # whoever owns a name can point it here.
    if not is_loopback(bound) and is_address(name):
        return
    raise Refused(403, f"this is not {name or 'that host'}")


def check_origin(headers: Message, *, opens: bool, changes: bool) -> None:
    """Refuses what a page of another site has its visitor's browser ask.

    Args:
        headers: of the request.
        opens: whether it is the page itself, which may be opened by a link from anywhere.
        changes: whether it makes the server work (POST), which takes the page's own origin.
    """
    site = headers.get("Sec-Fetch-Site", "none").lower()
    if not opens and site not in ("same-origin", "none"):
        raise Refused(403, "pages of other sites are not answered")
    origins = headers.get_all("Origin", [])
    own = headers.get("Host", "").strip(_BLANKS).lower()
    for origin in origins:
        if urlsplit_netloc(origin.strip(_BLANKS)) != own:
            raise Refused(403, "pages of other sites are not answered")
    if changes and len(origins) != 1:
        raise Refused(
            403, "a search needs the header Origin, as browsers send it: http://HOST:PORT"
        )


def urlsplit_netloc(origin: str) -> str:
    """Host and port of an origin in lower case; empty where it has none (`null`, for one)."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def length(headers: Message) -> int:
    """The bytes of the body, known before any is read; refuses no length, two lengths, too many."""
    if headers.get("Transfer-Encoding") is not None:
        raise Refused(411, "the length must be given by Content-Length, not in chunks")
    lengths = headers.get_all("Content-Length", [])
    if not lengths:
        raise Refused(411, "the header Content-Length is missing")
    digits = lengths[0].strip(_BLANKS)
    if len(lengths) > 1 or not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        raise Refused(400, "Content-Length is no number of bytes")
    if int(digits) > UPLOAD:
        raise Refused(413, f"the image has more than {UPLOAD // 2**20} MiB")
    return int(digits)


def _host(headers: Message) -> str:
    """The host's name without its port, in lower case."""
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1 or not hosts[0].strip(_BLANKS):
        raise Refused(400, "a request has one header Host, which is not empty")
    split = HOST.fullmatch(hosts[0].strip(_BLANKS).lower())
    return split["name"].strip("[]") if split else ""
