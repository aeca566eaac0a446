"""A worker of benchmarks/gpu.py with the arms that it has ready, which outlives its process."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from gpu_workers import Clock, Worker, WorkerError

JAX, PYTORCH = "JAX", "PyTorch"
SCRIPTS = {JAX: "gpu_jax.py", PYTORCH: "gpu_torch.py"}
CEILING = "ceiling"  # the name of the matrix product among a worker's arms
START = 90.0  # seconds that a worker has for its imports and its first word
ONCE = 30.0  # seconds that the steps of one arm in one round may take


class Side:
    """A worker and its arms. One that hangs or ends is started anew once it is needed again.

    An arm is known by what it was prepared with, so the same one is prepared once, and again only
    behind a new start.

    Args:
        start: starts a worker.
        ceiling: what its command `ceiling` is asked with.
        gpu: whether the worker has to see a GPU.
        clock: the time that is left of the part; set anew by each part.
    """

    def __init__(
        self,
        framework: str,
        start: Callable[[], Worker],
        ceiling: dict[str, Any],
        clock: Clock,
        *,
        gpu: bool,
    ):
        self.framework, self.clock, self.worker = framework, clock, start()
        self.operations = 0.0  # of the matrix product
        self._start, self._ceiling, self._gpu = start, {"name": CEILING, **ceiling}, gpu
        self._known: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}  # asked and answered
        self._ready: set[str] = set()

    def open(self) -> dict[str, Any]:
        """What the worker says of itself; makes the ceiling ready; errors of `Worker.ask`."""
        about = self.worker.ask("about", self.clock.limit(START))
        if self._gpu and about["platform"] != "gpu":
            self.worker.end()
            raise WorkerError(f"{self.framework} sees no GPU, only {about['platform']}")
        self.operations = self.worker.ask("ceiling", self.clock.limit(START), **self._ceiling)
        self._ready = {CEILING}
        return about

    def begin(self, arguments: dict[str, Any]) -> str:
        """As `open` and `prepare`, without waiting; `finish` waits. The arm's key."""
        self.worker.send("about")
        self.worker.send("ceiling", **self._ceiling)
        self.worker.send("prepare", name=key_of(arguments), **arguments)
        return key_of(arguments)

    def finish(self, arguments: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to what was begun, within so many more seconds; errors of `Worker.ask`."""
        key, end = key_of(arguments), Clock(self.clock.limit(seconds))
        try:
            self.worker.receive(end.left())
            self.operations = self.worker.receive(end.left())
            answer = self.worker.receive(end.left())
        except WorkerError:
            self.worker.end()
            raise
        self._known[key], self._ready = (arguments, answer), {CEILING, key}
        return answer

    def prepare(self, seconds: float, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Makes an arm ready: its key, and what the worker told; errors of `Worker.ask`."""
        key = key_of(arguments)
        if not self.worker.running or key not in self._ready:
            answer = self._asked("prepare", seconds, name=key, **arguments)
            self._known.setdefault(key, (arguments, answer))
            self._ready.add(key)
        return key, self._known[key][1]

    def ask(self, command: str, key: str, seconds: float, **arguments: Any) -> Any:
        """What a command tells of an arm, or of the ceiling; errors of `Worker.ask`."""
        if key != CEILING:
            self.prepare(seconds, self._known[key][0])
        return self._asked(command, seconds, name=key, **arguments)

    def _asked(self, command: str, seconds: float, **arguments: Any) -> Any:
        self.clock.limit(seconds)  # raises where no time is left to start anew
        if not self.worker.running:
            self.worker = self._start()
            self.open()
        return self.worker.ask(command, self.clock.limit(seconds), **arguments)


class Timed(NamedTuple):
    """An arm that is ready in a side, and the row of results that its seconds belong to."""

    side: Side
    key: str
    row: dict[str, Any]


def key_of(arguments: dict[str, Any]) -> str:
    """A name for what was prepared with these arguments."""
    text = json.dumps(arguments, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
