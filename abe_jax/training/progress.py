"""Progress lines: of a training, and of a compilation."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

EVERY = 30.0  # seconds between two lines of a compilation


@contextlib.contextmanager
def compiling(say: Callable[[str], None]) -> Iterator[None]:
    """Says every half minute how long the block inside, which begins by compiling, has taken.

    From two minutes on XLA writes an alarm of its own to the error stream. It writes it as an
    error, so the log level that hides it would hide errors too.
    """
    ended, began = threading.Event(), time.perf_counter()

    def tell() -> None:
        while not ended.wait(EVERY):
            say(f"compiling, {time.perf_counter() - began:.0f} s so far")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


class Progress:
    """Measures the rate between lines, leaving out the time that was not training."""

    def __init__(self, steps: int, batch: int):
        self._steps, self._batch = steps, batch
        self._since = time.perf_counter()
        self._trained = 0

    def pause(self, seconds: float) -> None:
        """Excludes so many seconds from the rate: a compilation, a validation."""
        self._since += seconds

    def count(self) -> None:
        """One step has been handed to the devices."""
        self._trained += 1

    def rate(self) -> float:
        """Images per second since the last call."""
        now = time.perf_counter()
        rate = self._trained * self._batch / max(now - self._since, 1e-9)
        self._since, self._trained = now, 0
        return rate

    def line(self, step: int, values: dict[str, float], rate: float) -> str:
        """Step, rate, loss terms, validation and the time that is left."""
        left = (self._steps - step) * self._batch / max(rate, 1e-9)
        named = [
            f"{name} {value:.4f}"
            for name, value in values.items()
            if name != "gradient_norm" and not name.endswith("_distance")
        ]
        width = len(str(self._steps))
        return (
            f"step {step:{width}}/{self._steps}  {rate:,.0f} images/s  "
            f"{'  '.join(named)}  {duration(left)} left"
        )


def duration(seconds: float) -> str:
    """As 45s, 3m20s or 2h05m."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded}s"
    if rounded < 3600:
        return f"{rounded // 60}m{rounded % 60:02d}s"
    return f"{rounded // 3600}h{rounded % 3600 // 60:02d}m"
