"""A polite request to stop: SIGTERM, as clusters send it before they take the machine away."""

import signal
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Remembers SIGTERM until the training loop has finished its step."""

    def __init__(self) -> None:
        self._asked = False
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._ask)
        # With several hosts JAX's own runtime listens for SIGTERM, so that all agree on the step.

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def requested(self, step: int) -> bool:
        """Whether to stop after this step; the same answer on every host."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked
