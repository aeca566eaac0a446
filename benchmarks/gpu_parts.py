"""What each part of benchmarks/gpu.py measures, in the order in which gpu.py takes them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from gpu_arms import SMALL, WAYS, Arm, Lever, Setting
from gpu_measure import HERE, Bench
from gpu_sides import JAX, PYTORCH, Side, Timed
from gpu_workers import Clock, WorkerError

TRACED_STEPS = 3
TRACE = 60.0  # seconds that a trace may take, its reading included


def ours(bench: Bench, arm: Arm, setting: Setting | None = None) -> dict[str, Any]:
    """What a worker of JAX's prepares an arm with."""
    setting = setting or Setting()
    return {
        "arm": dataclasses.asdict(arm),
        "compute": bench.options.plan.compute,
        "overrides": list(setting.overrides),
        "ways": setting.ways,
    }


def prepare_ours(bench: Bench, side: Side, part: str, arms: Sequence[Arm]) -> list[Timed]:
    """Arms that are ready; the rows of all say so, or why they are not."""
    made = []
    for arm in arms:
        made += bench.prepare(side, bench.row(part, JAX, arm), ours(bench, arm))
    return made


def prepare_theirs(bench: Bench, side: Side, part: str, arms: Sequence[Arm]) -> list[Timed]:
    """The same steps in PyTorch, eager, of arms whose facts our own rows tell."""
    facts, made = _facts(bench), []
    for arm in arms:
        if "eager" in arm.peers and arm.name in facts:
            row = bench.row(part, PYTORCH, arm, mode="eager")
            made += bench.prepare(side, row, {"facts": facts[arm.name], "compiled": False})
    return made


def _facts(bench: Bench) -> dict[str, Any]:
    return {row["arm"]: row["peer"] for row in bench.results.rows if "peer" in row}


def paper(bench: Bench) -> None:
    """The paper's systems, whose programs are compiled from nothing, and their steps."""
    bench.part_with(JAX)
    bench.forget()
    if side := bench.shared(JAX, "paper", bench.clock("paper")):
        bench.time(prepare_ours(bench, side, "paper", bench.options.plan.paper))


def cache(bench: Bench) -> None:
    """The first calls of a new process, compiled programs at hand."""
    bench.part_with(JAX)
    with bench.quiet():
        if side := bench.shared(JAX, "cache", bench.clock("cache")):
            prepare_ours(bench, side, "cache", bench.options.plan.paper)


def trace(bench: Bench) -> None:
    """The kernels of a few steps. XLA launches them one by one while it is traced."""
    plan = bench.options.plan
    side = bench.shared(JAX, "trace", bench.clock("trace"))
    if side is None:
        return
    for arm in plan.paper:
        if arm.name not in plan.traced:
            continue
        try:
            key, _ = side.prepare(bench.options.arm_seconds, ours(bench, arm))
            with bench.quiet():
                found = side.ask("trace", key, TRACE, steps=TRACED_STEPS)
            bench.results.traces[arm.name] = found
            bench.keep()
        except WorkerError as error:
            bench.miss(f"trace of {arm.name}", error)


def levers(bench: Bench) -> None:
    """A step with each value of each lever, those of a lever in turns."""
    arms, clock = {arm.name: arm for arm in bench.options.plan.paper}, bench.clock("levers")
    has_ways = (HERE.parent / "abe_jax" / "ways.py").exists()
    for number, lever in enumerate(bench.options.levers):
        if lever.name == WAYS and not has_ways:
            bench.miss(f"levers, {lever.arm}, {WAYS}", "abe_jax has no ways.py here")
        else:
            _pull(bench, number, lever, arms[lever.arm], clock)


def _pull(bench: Bench, number: int, lever: Lever, arm: Arm, clock: Clock) -> None:
    made: list[Timed] = []
    own: list[Side] = []
    for value in lever.values:
        setting = lever.setting(value)
        what = f"levers, {lever.name}={value}"
        if setting.own_process:
            side = bench.opened(JAX, what, clock, setting)
            own += [side] if side else []
        else:
            side = bench.shared(JAX, what, clock)
        if side is not None:
            known = {"lever": lever.name, "value": value, "number": number, "setting": what[8:]}
            row = bench.row("levers", JAX, arm, first=lever.values[0], **known)
            made += bench.prepare(side, row, ours(bench, arm, setting))
    bench.time(made)
    for side in own:
        side.worker.close()


def others(bench: Bench) -> None:
    """Other backbones, in turns with PyTorch's."""
    arms, clock = bench.options.plan.others, bench.clock("others")
    made: list[Timed] = []
    if arms and (side := bench.shared(JAX, "others", clock)):
        made += prepare_ours(bench, side, "others", arms)
    if arms and (peer := bench.shared(PYTORCH, "others", clock)):
        made += prepare_theirs(bench, peer, "others", arms)
    bench.time(made)


def large(bench: Bench) -> None:
    """Batches of so much memory that one framework waits until the other has gone."""
    arms, clock = bench.options.plan.large, bench.clock("large")
    bench.part_with(JAX)
    bench.part_with(PYTORCH)
    if arms and (side := bench.opened(JAX, "large", clock)):
        bench.time(prepare_ours(bench, side, "large", arms))
        side.worker.close()
    if arms and (side := bench.shared(PYTORCH, "large", clock)):
        bench.time(prepare_theirs(bench, side, "large", arms))
        bench.part_with(PYTORCH)


class Compiling:
    """PyTorch's steps of the paper's systems under torch.compile, begun early and taken late."""

    def __init__(self, bench: Bench):
        self._bench = bench
        self._begun: list[tuple[Side, dict[str, Any], dict[str, Any]]] = []
        clock, facts = Clock(bench.all.left()), _facts(bench)
        if bench.shared(PYTORCH, "peers", clock) is None:
            return
        for arm in bench.options.plan.paper:
            if "compiled" not in arm.peers or arm.name not in facts:
                continue
            side = bench.side(PYTORCH, clock)
            row = bench.row("peers", PYTORCH, arm, mode="compiled")
            asked = {"facts": facts[arm.name], "compiled": True}
            side.begin(asked)
            bench.background.append(side)
            self._begun.append((side, row, asked))

    def taken(self, clock: Clock) -> list[Timed]:
        """Those that are done within the time of a part, and no longer than they may take."""
        wait, done = Clock(min(self._bench.options.compile_seconds, clock.left())), []
        for side, row, asked in self._begun:
            side.clock = clock
            self._bench.background.remove(side)
            try:
                row |= side.finish(asked, max(wait.left(), 1.0))
                done += self._bench.prepare(side, row, asked)
            except WorkerError as error:
                row["error"] = f"torch.compile: {error}"
                self._bench.tell(row)
        self._begun = []
        return done


def peers(bench: Bench, compiling: Compiling | None) -> None:
    """The paper's systems in turns with PyTorch's, as it runs them and compiled."""
    clock, arms = bench.clock("peers"), [a for a in bench.options.plan.paper if a.peers]
    made: list[Timed] = []
    if side := bench.shared(JAX, "peers", clock):
        made += prepare_ours(bench, side, "peers", arms)
    if peer := bench.shared(PYTORCH, "peers", clock):
        made += prepare_theirs(bench, peer, "peers", arms)
    if compiling is not None:
        made += compiling.taken(clock)
    bench.time(made)


def input_rates(bench: Bench) -> None:
    """Images/s that loaders make, by threads; on the processor alone."""
    clock, options = bench.clock("input"), bench.options
    setting = Setting(environment={"JAX_PLATFORMS": "cpu"})
    worker = bench.started("input_rates.py", setting, "--serve")
    try:
        sizes = {"small": options.plan is SMALL, "seconds": 0.6 * clock.left()}
        bench.results.input = worker.ask("measure", clock.limit(bench.all.left()), **sizes)
    except WorkerError as error:
        bench.miss("input", error)
    worker.close()
    bench.keep()


def run(bench: Bench) -> None:
    """All parts that are asked for."""
    parts = set(bench.options.parts)
    if not bench.options.torch:
        parts -= {"peers"}
    simple = {"trace": trace, "levers": levers, "others": others, "large": large}
    if "paper" in parts:
        paper(bench)
    compiling = Compiling(bench) if "peers" in parts else None
    for part, measure in simple.items():
        if part in parts:
            measure(bench)
    if "input" in parts:
        with bench.quiet():
            input_rates(bench)
    if "cache" in parts:
        cache(bench)
    if "peers" in parts:
        peers(bench, compiling)
