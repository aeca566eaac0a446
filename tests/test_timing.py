"""Timing: the order of the calls, what the clock sees and what the chain carries."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.comparison import timing


class Clock:
    """Time that passes only where a call says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log = ""

    def call(self, name: str, seconds: list[float]) -> Callable[[], None]:
        left = iter(seconds)

        def run() -> None:
            self.log += name
            self.now += next(left)

        return run


def test_rounds_interleave_and_the_first_call_is_not_measured() -> None:
    clock = Clock()
    calls = {"a": clock.call("a", [100, 1, 3, 8]), "b": clock.call("b", [100, 4, 5, 6])}
    measured = timing.interleaved(calls, 3, clock=lambda: clock.now)
    assert clock.log == "abababab"
    assert measured == {"a": [1, 3, 8], "b": [4, 5, 6]}


def test_medians_are_of_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"a": [1.0, 9.0, 3.0], "b": [2.0, 2.0, 50.0]}
    monkeypatch.setattr(timing, "interleaved", lambda calls, rounds: found)
    assert timing.medians({}, 3) == {"a": 3.0, "b": 2.0}


def test_the_time_ends_when_the_result_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    waited = []

    def wait(result: object) -> None:
        waited.append(result)
        clock.now += 7

    monkeypatch.setattr(jax, "block_until_ready", wait)
    measured = timing.interleaved({"a": lambda: "result"}, 2, clock=lambda: clock.now)
    assert waited == ["result"] * 3
    assert measured == {"a": [7, 7]}


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds: 0"):
        timing.interleaved({}, 0)


def test_chained_feeds_a_donated_state_on() -> None:
    step = jax.jit(lambda state, batch: (state + batch, state * 2), donate_argnums=0)
    call = timing.chained(step, jnp.float32(1), np.float32(3))
    assert [float(call()[1]) for _ in range(3)] == [2, 8, 14]
