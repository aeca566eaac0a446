"""The compiled programs of a process: which one is new, its memory and its instructions."""

from collections import Counter
from typing import Any

import jax

GIB = 2**30
FREE = (" parameter(", " constant(", " bitcast(", " get-tuple-element(", " tuple(")


class Programs:
    """The programs that there are when it is made; none where the platform does not tell."""

    def __init__(self) -> None:
        self._why = ""
        self._known = Counter(key for _, key in self._all())

    def _all(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """Each program and what tells it from others; empty, and the reason, where none is told."""
        try:
            return [(p, _key(p)) for p in jax.devices()[0].client.live_executables()]
        except Exception as error:  # whatever a plug-in raises that does not count memory
            self._why = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            return []

    def newest(self) -> tuple[Any, dict[str, Any]]:
        """The largest program that was not there, or None; its `gib` and `instructions`.

        Both are None, and `untold` says why, where the platform does not tell.
        """
        known, new = Counter(self._known), []
        for program, key in self._all():
            known[key] -= 1
            if known[key] < 0:
                new.append(program)
        if not new:
            return None, {"gib": None, "instructions": None, "untold": self._why or "no program"}
        largest = max(new, key=_gib)
        counted = instructions(text(largest))
        return largest, {"gib": _gib(largest), "instructions": counted}


def _key(program: Any) -> tuple[Any, ...]:
    stats = program.get_compiled_memory_stats()
    sizes = stats.temp_size_in_bytes, stats.argument_size_in_bytes, stats.output_size_in_bytes
    return (program.hlo_modules()[0].name, *sizes)


def _gib(program: Any) -> float:
    stats = program.get_compiled_memory_stats()
    used = stats.temp_size_in_bytes + stats.argument_size_in_bytes + stats.output_size_in_bytes
    return (used - stats.alias_size_in_bytes) / GIB


def text(program: Any) -> str:
    """The program as XLA prints it."""
    return "\n".join(module.to_string() for module in program.hlo_modules())


def instructions(printed: str) -> int:
    """How many instructions of the main computation do work, and are not names of others."""
    main = printed[printed.index("\nENTRY ") :].splitlines()[2:]
    return sum(" = " in line and not any(word in line for word in FREE) for line in main)
