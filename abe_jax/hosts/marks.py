"""How far a host has come, so that one that waits for ever is found out and the late one named."""

from typing import NamedTuple


class Mark(NamedTuple):
    """The last point that this host's main thread has reached."""

    number: int  # of points so far; hosts of one job reach the same ones in the same order
    name: str


_last = Mark(0, "the start")
_parts = 0  # of work done so far between points: how many differs from host to host


def reached(name: str) -> None:
    """Notes where the main thread is: at the beginning of what may wait for other hosts.

    Costs no message: the thread that watches the other hosts tells them (`cli/ending.py`).
    """
    global _last
    _last = Mark(_last.number + 1, name)


def at_work() -> None:
    """Notes that this host has done one image or block more; any of its threads may call it.

    In loops that can take an hour while other hosts wait for this one: preparing data, ranking.
    """
    global _parts
    _parts += 1


def told() -> str:
    """Where this host is, as the other hosts read it: another text at each progress."""
    return f"{_last.number}.{_parts} {_last.name}"


class Standstill:
    """For how long no host of a job has made progress, by what all of them told."""

    def __init__(self) -> None:
        self.told: dict[int, str] = {}
        self.seconds = 0.0
        self._since: float | None = None

    def note(self, told: dict[int, str], now: float) -> None:
        """Takes what each host told last, by its number, at a second of some clock."""
        if self._since is None or told != self.told:
            self._since = now
        self.told, self.seconds = told, now - self._since


def late(told: dict[int, str], seconds: float) -> str:
    """The line that names who keeps the others waiting.

    Args:
        told: what each host told of its last mark, by its number.
        seconds: how long nobody has made progress.
    """
    marks = {host: text.partition(" ") for host, text in told.items()}
    numbers = {host: int(number.partition(".")[0]) for host, (number, _, _) in marks.items()}
    names = {host: name for host, (_, _, name) in marks.items()}
    furthest = max(numbers.values())
    behind = [host for host, number in sorted(numbers.items()) if number < furthest]
    waiting = names[next(host for host, number in numbers.items() if number == furthest)]
    if not behind:
        return f"no host has made progress for {seconds:.0f} s; all are at {waiting}"
    who = ", ".join(f"host {host} (at {names[host]})" for host in behind)
    return f"no host has made progress for {seconds:.0f} s; the others wait at {waiting} for {who}"
