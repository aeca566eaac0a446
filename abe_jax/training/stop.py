"""A polite request to stop: SIGTERM, as clusters send it before they take the machine away."""

import contextlib
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
    """A request that SIGTERM makes inside; afterwards the previous handler is restored.

    With several hosts JAX's own runtime listens for SIGTERM, so that all agree on the step.
    """
    request = StopRequest()
    if jax.process_count() > 1:
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
