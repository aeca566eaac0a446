"""Progress lines: of a training, and of a compilation."""

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator

EVERY = 30.0  # seconds between two lines of a compilation
XLA_ALARM = 120.0  # seconds from which on XLA says itself that a compilation takes long
FATAL = 3  # of XLA's levels, which begin with 0, information


@contextlib.contextmanager
def compiling(say: Callable[[str], None]) -> Iterator[None]:
    """Says every half minute how long the block inside, which begins by compiling, has taken.

    After two minutes, and again at the end, XLA would write an alarm of its own to the error
    stream, as an error and with no flag to turn it off. So from the last line before that until
    the end it writes fatal errors alone; what else fails meanwhile comes as an exception.
    """
    ended, began = threading.Event(), time.perf_counter()

    def tell() -> None:
        quiet = False
        while not ended.wait(EVERY):
            passed = time.perf_counter() - began
            say(f"compiling, {passed:.0f} s so far")
            if not quiet and passed + EVERY >= XLA_ALARM:
                quiet = True
                _xla_writes_from(FATAL)
        if quiet:
            _xla_writes_from(_usual_level())

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _xla_writes_from(level: int) -> None:
    """JAX has no public name for it; a version without this one shows the alarms."""
    utils = importlib.import_module("jaxlib.utils")
    set_level = getattr(utils, "absl_set_min_log_level", None)
    if set_level is not None:
        set_level(level)


def _usual_level() -> int:
    """What the environment says, where JAX itself puts 1, warnings."""
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "")
    return int(level) if level.isdecimal() else 1


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
