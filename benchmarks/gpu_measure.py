"""How benchmarks/gpu.py measures: its workers, its time, and what it has found by now.

Arms that are compared are timed in turns, whatever their framework and process: a round runs each
of them once. What PyTorch compiles in minutes is compiled beside everything else, each in a worker
of its own, which stands still while steps are timed.
"""

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_arms import Arm, Lever, Plan, Setting
from gpu_sides import CEILING, ONCE, PYTORCH, SCRIPTS, Side, Timed
from gpu_workers import Clock, Worker, WorkerError

HERE = Path(__file__).parent
RESULTS, JAX_CACHE, TORCH_CACHE = "results.json", "jax_cache", "torch_cache"  # in the folder
TIMING = 30.0  # seconds that the rounds of arms timed together may take
# The parts in their order, and how much of the time each may have, relative to the others.
PARTS = {
    "paper": 12.0,
    "trace": 1.0,
    "levers": 6.0,
    "others": 3.0,
    "large": 3.0,
    "input": 1.0,
    "cache": 1.5,
    "peers": 4.0,
}
PREPARING = 0.85  # of a part's time; the rest of it is left for its rounds


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


class Bench:
    """Measures the parts one after the other; what is there is in `results`, whatever fails.

    Args:
        show: is given the results whenever there are more of them.
    """

    def __init__(
        self, options: Options, results: Results, show: Callable[[Results], None] | None = None
    ):
        self.options, self.results, self.all = options, results, Clock(options.seconds)
        self.background: list[Side] = []  # what compiles beside everything else
        self._show = show
        self._workers: list[Worker] = []
        self._shared: dict[str, Side] = {}

    def started(self, script: str, setting: Setting, *options: str) -> Worker:
        """A new worker; what it says of its own accord goes to a file in the folder."""
        log = self.options.folder / "workers.log"
        self._workers.append(Worker(HERE / script, self.environment(setting), log, *options))
        return self._workers[-1]

    def side(self, framework: str, clock: Clock, setting: Setting | None = None) -> Side:
        """A side with a new worker, which has not said a word yet."""
        plan, script = self.options.plan, SCRIPTS[framework]
        ceiling = {"side": plan.ceiling, "compute": plan.compute}
        start = functools.partial(self.started, script, setting or Setting())
        return Side(framework, start, ceiling, clock, gpu=plan.gpu)

    def opened(
        self, framework: str, part: str, clock: Clock, setting: Setting | None = None
    ) -> Side | None:
        """A side of its own, or none where its worker does not start; the reason is kept."""
        side = self.side(framework, clock, setting)
        try:
            about = side.open()
        except WorkerError as error:
            side.worker.end()
            self.miss(f"{part}, {framework}", error)
            return None
        self.results.machines.setdefault(framework, about.pop("machine"))
        self.results.starts.setdefault(framework, about)
        return side

    def shared(self, framework: str, part: str, clock: Clock) -> Side | None:
        """The side that parts share, started where there is none."""
        if framework == PYTORCH and not self.options.torch:
            return None
        side = self._shared.get(framework) or self.opened(framework, part, clock)
        if side is not None:
            self._shared[framework], side.clock = side, clock
        return side

    def part_with(self, framework: str) -> None:
        """Ends the shared side: the next one begins anew, and its memory is free."""
        if side := self._shared.pop(framework, None):
            side.worker.close()

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
        """The time of a part to prepare: of its share of what is left for it and those behind."""
        order = list(PARTS)
        behind = [p for p in order[order.index(part) :] if p in self.options.parts or p == part]
        share = PARTS[part] / sum(PARTS[p] for p in behind)
        return Clock(self.all.left() * share * PREPARING)

    def row(self, part: str, framework: str, arm: Arm, **known: Any) -> dict[str, Any]:
        """A new row of the results."""
        made = {"part": part, "framework": framework, "arm": arm.name, "seconds": [], **known}
        self.results.rows.append(made)
        return made

    def prepare(self, side: Side, row: dict[str, Any], arguments: dict[str, Any]) -> list[Timed]:
        """Makes the arm of a row ready and puts what it tells there, or why it is not.

        The arm, to be timed; none where it is not ready.
        """
        made = []
        try:
            key, answer = side.prepare(self.options.arm_seconds, arguments)
            row |= answer
            made = [Timed(side, key, row)]
        except WorkerError as error:
            row["error"] = str(error)
        self.tell(row)
        return made

    def miss(self, what: str, why: object) -> None:
        """Keeps what could not be measured, and why."""
        self.results.missing.append(f"{what}: {why}")
        print(self.results.missing[-1], file=sys.stderr, flush=True)
        self.keep()

    def keep(self) -> None:
        """Writes the results as JSON, whole or not at all."""
        path = self.options.folder / RESULTS
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self.results), indent=1))
        partial.replace(path)
        if self._show is not None:
            self._show(self.results)

    def tell(self, row: Mapping[str, Any]) -> None:
        """Says on standard error what a row has by now, and keeps all results."""
        what = row.get("error") or f"first call {row.get('first_s', 0):.1f} s"
        named = ", ".join(filter(None, (row["arm"], row.get("setting"), row.get("mode"))))
        print(f"{row['part']}: {named}: {what}", file=sys.stderr, flush=True)
        self.keep()

    def time(self, arms: Sequence[Timed]) -> None:
        """Times the arms in turns, while there is time, and puts seconds into their rows."""
        end = Clock(min(TIMING, self.all.left()))
        going: list[Timed] = []
        for side in dict.fromkeys(arm.side for arm in arms):
            side.clock = Clock(min(TIMING + ONCE, self.all.left()))
            going.append(Timed(side, CEILING, {}))
            going += [arm for arm in arms if arm.side is side]
        with self.quiet():
            for _ in range(self.options.rounds):
                for arm in list(going):
                    if end.left() > 0 and not self._once(arm):
                        going.remove(arm)
        self.keep()

    def _once(self, arm: Timed) -> bool:
        """One round's steps of an arm; False where it can have no more of them."""
        side, row = arm.side, arm.row
        try:
            seconds = side.ask("seconds", arm.key, ONCE, steps=self.options.steps)
        except WorkerError as error:
            if arm.key == CEILING:
                self.miss(f"ceiling of {side.framework}", error)
            else:
                row["error"] = f"while it was timed: {error}"
                self.tell(row)
            return False
        if arm.key == CEILING:
            speeds = self.results.ceilings.setdefault(side.framework, [])
            speeds.append(side.operations / seconds)
        else:
            row["seconds"].append(seconds)
        return True

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
