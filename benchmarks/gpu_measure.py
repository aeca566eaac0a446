"""How benchmarks/gpu.py measures: its workers, its time, and what it has found by now.

Arms that are compared are timed in turns, whatever their framework. What PyTorch compiles in
minutes is compiled beside everything else, each in a worker of its own, which stands still while
steps are timed.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_arms import Arm, Lever, Plan, Setting
from gpu_workers import Clock, Worker, WorkerError

HERE = Path(__file__).parent
JAX, PYTORCH = "JAX", "PyTorch"
RESULTS, JAX_CACHE, TORCH_CACHE = "results.json", "jax_cache", "torch_cache"  # in the folder
CEILING = "ceiling"  # the name of the matrix product among a worker's arms
START = 90.0  # seconds that a worker has for its imports and its first word
# The parts in their order, and how much of the time each may have, relative to the others.
PARTS = {
    "paper": 10.0,
    "cache": 2.5,
    "trace": 3.0,
    "levers": 2.5,
    "large": 2.5,
    "others": 2.5,
    "input": 1.5,
    "peers": 5.0,
}
NO_BUFFERS = Setting(flags=("--xla_gpu_enable_command_buffer=",))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured, where what arises is kept, and for how long."""

    plan: Plan
    levers: tuple[Lever, ...]
    parts: tuple[str, ...]
    folder: Path
    rounds: int
    steps: int  # of a round, without waiting between them
    seconds: float  # for all
    arm_seconds: float  # for one arm to be compiled by XLA
    compile_seconds: float  # that PyTorch's compilation is waited for when all else is done
    torch: bool  # whether PyTorch runs beside ours


@dataclasses.dataclass(kw_only=True)
class Results:
    """What has been measured; rows are of steps, traces by arm."""

    machines: dict[str, str] = dataclasses.field(default_factory=dict)
    starts: dict[str, Any] = dataclasses.field(default_factory=dict)
    ceilings: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # operations/s
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    traces: dict[str, Any] = dataclasses.field(default_factory=dict)
    input: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)


class Side:
    """A worker and the arms that it has ready.

    One that hangs or ends is started anew, with the arms that were ready before.
    """

    def __init__(self, bench: "Bench", script: str, clock: Clock, setting: Setting | None = None):
        self.framework = JAX if script == "gpu_jax.py" else PYTORCH
        self._bench, self._script, self.clock = bench, HERE / script, clock
        self._setting = setting or Setting()
        self._made: dict[str, dict[str, Any]] = {}
        self.worker = self._started()
        self.operations = 0.0  # of the matrix product

    def _started(self) -> Worker:
        return self._bench.started(self._script, self._setting)

    def open(self) -> dict[str, Any]:
        """What the worker says of itself; makes the ceiling ready."""
        about = self.worker.ask("about", self.clock.limit(START))
        self.operations = self.worker.ask("ceiling", self.clock.limit(START), **self._ceiling())
        return about

    def _ceiling(self) -> dict[str, Any]:
        plan = self._bench.options.plan
        return {"name": CEILING, "side": plan.ceiling, "compute": plan.compute}

    def begin(self, name: str, **arguments: Any) -> None:
        """As `open` without its answer and `prepare`, without waiting; `finish` waits."""
        self._made[name] = arguments
        self.worker.send("ceiling", **self._ceiling())
        self.worker.send("prepare", name=name, **arguments)
        self._bench.background.append(self)

    def finish(self, seconds: float) -> dict[str, Any]:
        """The answer to what was begun, within so many more seconds; errors of `Worker.ask`."""
        self._bench.background.remove(self)
        try:
            self.operations = self.worker.receive(self.clock.limit(seconds))
            return self.worker.receive(self.clock.limit(seconds))
        except WorkerError:
            self.worker.end()
            raise

    def prepare(self, name: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """Makes an arm ready; errors of `Worker.ask`."""
        try:
            answer = self.worker.ask("prepare", self.clock.limit(seconds), name=name, **arguments)
        except WorkerError:
            if not self.worker.running:
                self._again()
            raise
        self._made[name] = arguments
        return answer

    def _again(self) -> None:
        known, self._made = self._made, {}
        self.worker = self._started()
        with contextlib.suppress(WorkerError):
            self.open()
            for name, arguments in known.items():
                self.prepare(name, self._bench.options.arm_seconds, **arguments)

    def rounds(self, count: int) -> dict[str, list[float]]:
        """Seconds of each arm that is ready, and of the ceiling, in so many rounds."""
        names, steps = [*self._made, CEILING], self._bench.options.steps
        limit = self.clock.limit(self._bench.options.arm_seconds)
        return self.worker.ask("rounds", limit, names=names, count=count, steps=steps)


class Bench:
    """Measures the parts one after the other; what is there is in `results`, whatever fails."""

    def __init__(self, options: Options, results: Results):
        self.options, self.results, self.all = options, results, Clock(options.seconds)
        self.background: list[Side] = []  # what compiles beside everything else
        self._workers: list[Worker] = []

    def started(self, script: Path, setting: Setting, *options: str) -> Worker:
        """A new worker; what it says of its own accord goes to a file in the folder."""
        log = self.options.folder / "workers.log"
        self._workers.append(Worker(script, self.environment(setting), log, *options))
        return self._workers[-1]

    def forget(self) -> None:
        """Empties the caches of compiled programs: what comes next begins from nothing."""
        for cache in (JAX_CACHE, TORCH_CACHE):
            shutil.rmtree(self.options.folder / cache, ignore_errors=True)

    def end(self) -> None:
        """Ends all workers that are still there."""
        for worker in self._workers:
            worker.end()

    def environment(self, setting: Setting) -> Mapping[str, str]:
        """Of a worker: one card, caches of this measurement alone, memory taken as needed."""
        folder, own = self.options.folder, os.environ
        flags = " ".join([own.get("XLA_FLAGS", ""), *setting.flags]).strip()
        made: dict[str, str | None] = {
            **own,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE.parent), own.get("PYTHONPATH")))),
            "CUDA_VISIBLE_DEVICES": own.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
            "JAX_COMPILATION_CACHE_DIR": str(folder / JAX_CACHE),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "TORCHINDUCTOR_CACHE_DIR": str(folder / TORCH_CACHE),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "XLA_FLAGS": flags or None,
            **setting.environment,
        }
        return {name: value for name, value in made.items() if value is not None}

    def clock(self, part: str) -> Clock:
        """The time of a part: its share of what is left for it and those behind it."""
        order = list(PARTS)
        behind = [p for p in order[order.index(part) :] if p in self.options.parts or p == part]
        return Clock(self.all.left() * PARTS[part] / sum(PARTS[p] for p in behind))

    def row(self, part: str, framework: str, arm: Arm, **known: Any) -> dict[str, Any]:
        """A new row of the results."""
        made = {"part": part, "framework": framework, "arm": arm.name, "seconds": [], **known}
        self.results.rows.append(made)
        return made

    def prepare(self, side: Side, row: dict[str, Any], seconds: float, **arguments: Any) -> None:
        """Makes the arm of a row ready and puts what it tells there, or why it is not."""
        try:
            row |= side.prepare(name(row), seconds, **arguments)
        except WorkerError as error:
            row["error"] = str(error)
        self.tell(row)

    def keep(self) -> None:
        """Writes the results as JSON, whole or not at all."""
        path = self.options.folder / RESULTS
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self.results), indent=1))
        partial.replace(path)

    def tell(self, row: Mapping[str, Any]) -> None:
        """Says on standard error what a row has by now, and keeps all results."""
        what = row.get("error") or f"first call {row.get('first_s', 0):.1f} s"
        print(f"{row['part']}: {name(row)}: {what}", file=sys.stderr, flush=True)
        self.keep()

    def time(self, rows: Sequence[dict[str, Any]], sides: Sequence[Side], blocks: int = 3) -> None:
        """Times all arms that are ready, the sides in turns, and puts seconds into their rows."""
        by_name = {name(row): row for row in rows}
        count, working = -(-self.options.rounds // blocks), list(sides)
        with self.quiet():
            for _ in range(blocks):
                for side in list(working):
                    try:
                        found = side.rounds(count)
                    except WorkerError as error:
                        self.results.missing.append(f"rounds of {side.framework}: {error}")
                        working.remove(side)
                        continue
                    speeds = [side.operations / each for each in found.pop(CEILING)]
                    self.results.ceilings.setdefault(side.framework, []).extend(speeds)
                    for key, seconds in found.items():
                        if key in by_name:
                            by_name[key]["seconds"] += seconds
        self.keep()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Lets what compiles in the background stand still."""
        for side in self.background:
            side.worker.pause()
        try:
            yield
        finally:
            for side in self.background:
                side.worker.resume()


def name(row: Mapping[str, Any]) -> str:
    """An arm's name in its worker: what tells rows of one part apart."""
    return ", ".join(filter(None, (row["arm"], row.get("setting"), row.get("mode"))))
