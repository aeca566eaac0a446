"""From a trace of the profiler to the kernels that took longest, by name and by stage.

A kernel's event names the instruction of the compiled program that it runs, and the program's text
has the path of modules that each instruction came from. Kernels inside a command buffer name the
buffer alone; of these, those that XLA wrote itself bear the name of their instruction.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from abe_jax.models.counting import PARTS

UNKNOWN, OUTSIDE = "unknown", "losses, optimiser and the rest"
_OPENED = re.compile(r"^\s*(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = ")
_PATH, _CALLS = re.compile(r'op_name="([^"]*)"'), re.compile(r"\bcalls=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Event:
    """One run of a kernel: its name, its instruction's, and its time in nanoseconds."""

    name: str
    instruction: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        """When it was over, on the clock of `start`."""
        return self.start + self.seconds


def events(profile: Any) -> list[Event]:
    """The kernels of the first device of a `jax.profiler.ProfileData`, in order; of a CPU its
    operations."""
    planes = {plane.name: plane for plane in profile.planes}
    device = next((name for name in sorted(planes) if name.startswith("/device:")), "")
    found = []
    for line in getattr(planes.get(device or "/host:CPU"), "lines", ()):
        if device and "Stream" not in line.name:
            continue  # what a later version adds of its own, made of the same events
        for event in line.events:
            instruction = str(dict(event.stats).get("hlo_op", ""))
            if event.duration_ns > 0 and (device or instruction):
                times = float(event.start_ns), float(event.duration_ns)
                found.append(Event(event.name, instruction, *times))
    return sorted(found, key=lambda event: event.start)


def newest(folder: Path) -> Path:
    """The file that the profiler wrote last below `folder`."""
    return max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)


def paths(program: str) -> dict[str, str]:
    """The path of modules of each instruction of a compiled program's text, by its plain name.

    A fusion without a path of its own has the one that most of its instructions have.
    """
    own: dict[str, str] = {}
    calls: dict[str, str] = {}
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    computation = ""
    for line in program.splitlines():
        if opened := _OPENED.match(line):
            computation = opened.group(1)
        elif named := _INSTRUCTION.match(line):
            if path := _PATH.search(line):
                own[named.group(1)] = path.group(1)
                inside[computation][path.group(1)] += 1
            if called := _CALLS.search(line):
                calls[named.group(1)] = called.group(1)
    for name, called in calls.items():
        if name not in own and inside[called]:
            own[name] = inside[called].most_common(1)[0][0]
    return {plain(name): path for name, path in own.items()}


def plain(name: str) -> str:
    """A name as kernels have it: XLA writes `_` there for the `.` and `-` of an instruction's."""
    return re.sub(r"[.\-]", "_", name)


def short(name: str) -> str:
    """A kernel's name without its number, return type, arguments and templates."""
    name = re.sub(r"^void ", "", name).split("(")[0].split("<")[0]
    return re.sub(r"([._]\d+)+$", "", name)[:60]


def stage(path: str, stages: Iterable[str]) -> str:
    """The part of the model, its stage and the direction that a path of modules lies in."""
    if not path:
        return UNKNOWN
    words = re.findall(r"[\w.]+", path)
    part = next((i for i, word in enumerate(words) if word in PARTS), None)
    if part is None:
        return OUTSIDE
    known = set(stages)
    named = next((word for word in words[part + 1 :] if word in known), "")
    where = f"{PARTS[words[part]]}, {named}" if named else PARTS[words[part]]
    return f"{where}, {'backward' if 'transpose(' in path else 'forward'}"


@dataclasses.dataclass(frozen=True)
class Row:
    """Kernels that count together, of one step."""

    name: str
    milliseconds: float
    launches: float
    mostly: str  # the stage, or the kernel, that most of their time is


def summary(
    found: Sequence[Event], program: str, stages: Sequence[str], steps: int
) -> dict[str, Any]:
    """A trace of so many steps: kernels by name, by stage, and what there is beside them."""
    by_instruction = paths(program)

    def where(event: Event) -> str:
        names = plain(event.instruction), plain(event.name)
        path = next((by_instruction[n] for n in names if n in by_instruction), "")
        return stage(path, stages)

    placed = [(short(event.name), where(event), event.seconds) for event in found]
    span = max((e.end for e in found), default=0) - min((e.start for e in found), default=0)
    return {
        "kernels": _rows(((name, at, took) for name, at, took in placed), steps),
        "stages": _rows(((at, name, took) for name, at, took in placed), steps),
        "span_ms": span / steps / 1e6,
        "busy_ms": sum(end - start for start, end in _together(found)) / steps / 1e6,
        "launches": len(found) / steps,
    }


def _rows(placed: Iterable[tuple[str, str, float]], steps: int) -> list[dict[str, Any]]:
    times: dict[str, Counter[str]] = defaultdict(Counter)
    counts: Counter[str] = Counter()
    for name, other, nanoseconds in placed:
        times[name][other] += nanoseconds  # pyright: ignore[reportArgumentType]: a float counts too
        counts[name] += 1
    rows = [
        Row(name, sum(of.values()) / steps / 1e6, counts[name] / steps, of.most_common(1)[0][0])
        for name, of in times.items()
    ]
    ordered = sorted(rows, key=lambda row: -row.milliseconds)
    return [dataclasses.asdict(row) for row in ordered]


def _together(found: Sequence[Event]) -> Iterator[tuple[float, float]]:
    """The stretches of time in which something ran; events are in order."""
    start = end = float("-inf")
    for event in found:
        if event.start > end:
            if end > start:
                yield start, end
            start = event.start
        end = max(end, event.end)
    if end > start:
        yield start, end
