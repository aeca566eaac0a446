"""What a compiled program sends between devices, read from XLA's text of it, and how long it takes.

The time is that of rings: each of n devices sends to its next neighbour alone, which is bound by
the slowest link of the ring. An array of P bytes is

    summed over all       2 (n - 1) / n P bytes a device, in 2 (n - 1) messages (all-reduce)
    gathered by all           (n - 1) / n P                   (n - 1)           (all-gather)
    summed, then shared out   (n - 1) / n P                   (n - 1)           (reduce-scatter)
    passed on                           P                        1              (permute)
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_NUMBER = r"[a-z]+(\d*)\w*\[([\d,]*)\]"  # such as f32[8,3]: bits and sides
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_CALLED = re.compile(r"(?:body|condition|to_apply|calls)=%?([\w.-]+)|branch_computations=\{(.*?)\}")
_TIMES = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Exchange(NamedTuple):
    """One operation in which all devices take part."""

    kind: str  # one of KINDS
    bytes: int  # of the whole arrays: all rows of what is gathered, one device's of what is summed
    times: int = 1  # in one run of the program


class Links(NamedTuple):
    """What joins a device to its next neighbour."""

    bandwidth: float  # bytes a second, in one direction
    latency: float  # seconds of a message without bytes


def exchanges(program: str) -> list[Exchange]:
    """All exchanges of a compiled program, from `Compiled.as_text()`, in the order of its text.

    What stands in a loop counts as often as the loop runs.

    Raises:
        ValueError: a loop around an exchange whose number of rounds XLA does not know.
    """
    parts = dict(_computations(program))
    times = _times(parts)
    found = [
        (kind, size, times.get(name, 0.0))
        for name, lines in parts.items()
        for line in lines
        for kind, size in _exchange(line)
    ]
    if any(math.isnan(often) for *_, often in found):
        raise ValueError("an exchange is in a loop whose number of rounds is not known")
    return [Exchange(kind, size, int(often)) for kind, size, often in found if often]


def sent(exchange: Exchange, devices: int) -> float:
    """Bytes that each device sends by rings, all times together."""
    share = {"all-reduce": 2.0, "collective-permute": devices / max(1, devices - 1)}
    factor = share.get(exchange.kind, 1.0) * (devices - 1) / devices
    return exchange.times * exchange.bytes * factor


def messages(exchange: Exchange, devices: int) -> int:
    """How many messages each device sends, one after the other, all times together."""
    rounds = {"all-reduce": 2 * (devices - 1), "collective-permute": min(1, devices - 1)}
    return exchange.times * rounds.get(exchange.kind, devices - 1)


def seconds(found: Iterable[Exchange], devices: int, links: Links) -> float:
    """How long the exchanges take, one after the other, over nothing but links."""
    return sum(
        sent(one, devices) / links.bandwidth + messages(one, devices) * links.latency
        for one in found
    )


def _computations(program: str) -> Iterator[tuple[str, list[str]]]:
    """The name and the lines of each; the entry's name is empty."""
    name, lines = None, []
    for line in program.splitlines():
        if begins := _COMPUTATION.match(line):
            name, lines = "" if begins[1] else begins[2], []
        elif line == "}" and name is not None:
            yield name, lines
            name = None
        else:
            lines.append(line)


def _times(parts: dict[str, list[str]]) -> dict[str, float]:
    """How often each computation runs; NaN: nobody knows."""
    times: dict[str, float] = {}

    def runs(name: str, often: float) -> None:
        times[name] = times.get(name, 0) + often
        for line in parts.get(name, ()):
            looped = _TIMES.search(line)
            rounds = int(looped[1]) if looped else math.nan if " while(" in line else 1
            for one, several in _CALLED.findall(line):
                for called in filter(None, [one, *re.findall(r"[\w.-]+", several)]):
                    runs(called, often * rounds)

    runs("", 1)
    return times


def _exchange(line: str) -> Iterator[tuple[str, int]]:
    found = _OPERATION.search(line)
    if not found:
        return
    shapes, kind, starts = found.groups()
    sizes = [_bytes(*one) for one in re.findall(_NUMBER, shapes)]
    if starts and kind != "all-reduce":  # its result is what goes in beside what comes out
        sizes = sizes[1:2]
    size = sum(sizes)
    if kind == "reduce-scatter":  # its result is one share
        size *= _group(line)
    yield kind, size


def _bytes(bits: str, sides: str) -> int:
    numbers = math.prod(int(side) for side in sides.split(",") if side)
    return numbers * max(1, int(bits or 8) // 8)


def _group(line: str) -> int:
    """Of how many devices the groups of an exchange are."""
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    counted = re.search(r"replica_groups=\[\d+,(\d+)\]", line)
    return int(counted[1]) if counted else 1
