"""A polite request to stop: SIGTERM or SIGUSR1, which clusters send before they take a machine."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Remembers that somebody asked to stop, until the training loop has finished its step."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self, *_: Any) -> None:
        """Asks to stop; takes what Python gives a handler of signals."""
        self._asked = True

    def requested(self, step: int) -> bool:
        """Whether to stop after this step; the same answer on every host."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked


@contextlib.contextmanager
def on_sigterm() -> Iterator[StopRequest]:
    """A request that SIGTERM and SIGUSR1 make inside; afterwards their handlers are restored.

    With several hosts JAX's own runtime listens for SIGTERM, so that all agree on the step: it is
    told of SIGUSR1, which it does not know, by that signal.
    """
    request = StopRequest()
    several = jax.process_count() > 1
    handlers = {signal.SIGUSR1: _as_sigterm if several else request.ask}
    if not several:
        handlers[signal.SIGTERM] = request.ask
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_sigterm(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
