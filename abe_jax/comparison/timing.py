"""Times of several functions measured side by side.

The speed of a shared machine drifts by a factor of two within minutes, so times taken one
function after the other do not compare. Here each round runs every function once: a drift meets
all of them alike, and the ratio of two medians of one measurement holds where neither time does.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

State = TypeVar("State")


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call in each round, from the call until its result is ready.

    Every call runs once unmeasured, which compiles it; then the rounds run all calls in the order
    given: A B C, A B C, ...

    Raises:
        ValueError: fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds: {rounds} is not at least 1")
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            jax.block_until_ready(call())
            seconds[name].append(clock() - start)
    return seconds


def medians(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of each call's seconds over interleaved rounds, the first call left out."""
    return {name: statistics.median(times) for name, times in interleaved(calls, rounds).items()}


def chained(
    step: Callable[[State, Any], tuple[State, Any]], state: State, batch: Any
) -> Callable[[], tuple[State, Any]]:
    """A call without arguments that runs `step` on the state its last call returned.

    So a step that uses up the state it is given (donated buffers) can be called again and again.
    """
    latest = state

    def call() -> tuple[State, Any]:
        nonlocal latest
        latest, observed = step(latest, batch)
        return latest, observed

    return call
