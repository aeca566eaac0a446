"""How far a host has come, so that one that waits for ever is found out and the late one named."""

import time
from typing import NamedTuple


class Mark(NamedTuple):
    """The last point that this host's main thread has reached."""

    number: int  # of points so far; hosts of one job reach the same ones in the same order
    name: str
    since: float  # seconds, of the monotonic clock

    def told(self) -> str:
        """As the other hosts read it."""
        return f"{self.number} {self.name}"


_last = Mark(0, "the start", time.monotonic())


def reached(name: str) -> None:
    """Notes where the main thread is: at the beginning of what may wait for other hosts.

    Costs no message: the thread that watches the other hosts tells them (`cli/ending.py`).
    """
    global _last
    _last = Mark(_last.number + 1, name, time.monotonic())


def last() -> Mark:
    """The last mark."""
    return _last


def late(told: dict[int, str], seconds: float) -> str:
    """The line that names who keeps the others waiting.

    Args:
        told: what each host told of its last mark, by its number.
        seconds: how long nobody has gone on.
    """
    marks = {host: text.partition(" ") for host, text in told.items()}
    numbers = {host: int(number) for host, (number, _, _) in marks.items()}
    names = {host: name for host, (_, _, name) in marks.items()}
    furthest = max(numbers.values())
    behind = [host for host, number in sorted(numbers.items()) if number < furthest]
    waiting = names[next(host for host, number in numbers.items() if number == furthest)]
    if not behind:
        return f"no host has gone on for {seconds:.0f} s; all are at {waiting}"
    who = ", ".join(f"host {host} (at {names[host]})" for host in behind)
    return f"no host has gone on for {seconds:.0f} s; the others wait at {waiting} for {who}"
