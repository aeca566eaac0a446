"""What each part of benchmarks/gpu.py measures, in the order in which gpu.py takes them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from gpu_arms import SMALL, Arm, Lever, Setting
from gpu_measure import HERE, JAX, NO_BUFFERS, PYTORCH, Bench, Side, name
from gpu_workers import Clock, WorkerError

TRACED_STEPS = 3


def ours(bench: Bench, part: str, clock: Clock, setting: Setting | None = None) -> Side | None:
    """A worker of JAX's, or none where it does not start."""
    return _opened(bench, part, "gpu_jax.py", clock, setting)


def theirs(bench: Bench, part: str, clock: Clock) -> Side | None:
    """A worker of PyTorch's, or none where it is not asked for or does not start."""
    if not bench.options.torch:
        return None
    return _opened(bench, part, "gpu_torch.py", clock, None)


def _opened(
    bench: Bench, part: str, script: str, clock: Clock, setting: Setting | None
) -> Side | None:
    side = Side(bench, script, clock, setting)
    try:
        about = side.open()
    except WorkerError as error:
        side.worker.end()
        bench.results.missing.append(f"{part}, {side.framework}: {error}")
        return None
    bench.results.machines.setdefault(side.framework, about.pop("machine"))
    bench.results.starts.setdefault(side.framework, about)
    return side


def prepare_ours(
    bench: Bench,
    side: Side,
    part: str,
    arms: Sequence[Arm],
    overrides: Sequence[str] = (),
    **known: str,
) -> list[dict[str, Any]]:
    """Rows of arms, each ready in the side or with the reason why it is not."""
    rows = []
    for arm in arms:
        row = bench.row(part, JAX, arm, **known)
        asked = {"arm": dataclasses.asdict(arm), "compute": bench.options.plan.compute}
        bench.prepare(side, row, bench.options.arm_seconds, **asked, overrides=list(overrides))
        rows.append(row)
    return rows


def prepare_theirs(
    bench: Bench, side: Side, part: str, arms: Sequence[Arm], mode: str
) -> list[dict[str, Any]]:
    """The same steps in PyTorch, of arms whose facts our own rows tell."""
    facts = _facts(bench)
    rows = []
    for arm in arms:
        if mode in arm.peers and arm.name in facts:
            row = bench.row(part, PYTORCH, arm, mode=mode)
            asked = {"facts": facts[arm.name], "compiled": mode == "compiled"}
            bench.prepare(side, row, bench.options.arm_seconds, **asked)
            rows.append(row)
    return rows


def _facts(bench: Bench) -> dict[str, Any]:
    return {row["arm"]: row["peer"] for row in bench.results.rows if "peer" in row}


def first_calls(bench: Bench, part: str) -> None:
    """`paper`: the paper's systems from nothing. `cache`: once more, compiled programs at hand."""
    clock = bench.clock(part)
    side = ours(bench, part, clock)
    if side is None:
        return
    rows = prepare_ours(bench, side, part, bench.options.plan.paper)
    bench.time(rows, [side])
    side.worker.close()


def trace(bench: Bench) -> None:
    """The kernels of a few steps, without command buffers, in which they have no names of ours."""
    clock, plan = bench.clock("trace"), bench.options.plan
    side = ours(bench, "trace", clock, NO_BUFFERS)
    if side is None:
        return
    arms = [arm for arm in plan.paper if arm.name in plan.traced]
    rows = prepare_ours(bench, side, "trace", arms, setting="no command buffers")
    bench.time(rows, [side])
    for row in rows:
        asked = {"name": name(row), "steps": TRACED_STEPS}
        if "error" not in row:
            try:
                found = side.worker.ask("trace", clock.limit(60.0), **asked)
                bench.results.traces[row["arm"]] = found
            except WorkerError as error:
                bench.results.missing.append(f"trace of {row['arm']}: {error}")
    side.worker.close()


def levers(bench: Bench) -> None:
    """A step with each value of each lever, those of a lever in turns."""
    arms, clock = {arm.name: arm for arm in bench.options.plan.paper}, bench.clock("levers")
    for lever in bench.options.levers:
        _pull(bench, lever, arms[lever.arm], clock)


def _pull(bench: Bench, lever: Lever, arm: Arm, clock: Clock) -> None:
    rows, sides = [], []
    for value in lever.values:
        setting = lever.setting(value)
        side = ours(bench, f"levers, {lever.name}={value}", clock, setting)
        if side is None:
            continue
        known = {"setting": f"{lever.name}={value}", "lever": lever.name, "value": value}
        rows += prepare_ours(bench, side, "levers", [arm], setting.overrides, **known)
        sides.append(side)
    bench.time(rows, sides)
    for side in sides:
        side.worker.close()


def backbones(bench: Bench, part: str, *, together: bool) -> None:
    """`large`, `others`: other backbones, in turns with PyTorch's or, for memory, before them."""
    arms, clock = getattr(bench.options.plan, part), bench.clock(part)
    side = ours(bench, part, clock) if arms else None
    if side is None:
        return
    rows, sides = prepare_ours(bench, side, part, arms), [side]
    if not together:
        bench.time(rows, sides)
        side.worker.close()
        sides = []
    if any(arm.peers for arm in arms) and (peer := theirs(bench, part, clock)):
        rows += prepare_theirs(bench, peer, part, arms, "eager")
        sides.append(peer)
    if sides:
        bench.time(rows, sides)
    for each in sides:
        each.worker.close()


class Compiling:
    """PyTorch's steps of the paper's systems under torch.compile, begun early and taken late."""

    def __init__(self, bench: Bench):
        self._bench, self._clock = bench, Clock(bench.all.left())
        self._begun: list[tuple[Side, dict[str, Any]]] = []
        facts = _facts(bench)
        for arm in bench.options.plan.paper if bench.options.torch else ():
            if "compiled" not in arm.peers or arm.name not in facts:
                continue
            side = Side(bench, "gpu_torch.py", self._clock)
            row = bench.row("peers", PYTORCH, arm, mode="compiled")
            side.begin(name(row), facts=facts[arm.name], compiled=True)
            self._begun.append((side, row))

    def taken(self, seconds: float) -> list[tuple[Side, dict[str, Any]]]:
        """The sides that are done within so many more seconds each, with their rows."""
        done = []
        for side, row in self._begun:
            try:
                row |= side.finish(seconds)
                done.append((side, row))
            except WorkerError as error:
                row["error"] = str(error)
            self._bench.tell(row)
        self._begun = []
        return done


def peers(bench: Bench, compiling: Compiling) -> None:
    """The paper's systems in turns with PyTorch's, as it runs them and compiled."""
    clock, arms = bench.clock("peers"), [a for a in bench.options.plan.paper if a.peers]
    sides, rows = [], []
    if peer := theirs(bench, "peers", clock):
        sides.append(peer)
        rows += prepare_theirs(bench, peer, "peers", arms, "eager")
    if side := ours(bench, "peers", clock):
        sides.insert(0, side)
        rows += prepare_ours(bench, side, "peers", arms)
    for compiled, row in compiling.taken(bench.options.compile_seconds):
        sides.append(compiled)
        rows.append(row)
    bench.time(rows, sides)
    for each in sides:
        each.worker.close()


def input_rates(bench: Bench) -> None:
    """Images/s that loaders make, by threads; on the processor alone."""
    clock, options = bench.clock("input"), bench.options
    setting = Setting(environment={"JAX_PLATFORMS": "cpu"})
    worker = bench.started(HERE / "input_rates.py", setting, "--serve")
    try:
        sizes = {"small": options.plan is SMALL, "seconds": 0.7 * clock.left()}
        bench.results.input = worker.ask("measure", clock.limit(clock.left()), **sizes)
    except WorkerError as error:
        bench.results.missing.append(f"input: {error}")
    worker.close()
    bench.keep()


def run(bench: Bench) -> None:
    """All parts that are asked for."""
    parts = set(bench.options.parts)
    if not bench.options.torch:
        parts -= {"peers"}
    if "paper" in parts:
        bench.forget()
        first_calls(bench, "paper")
    compiling = Compiling(bench) if "peers" in parts else None
    if "cache" in parts:
        first_calls(bench, "cache")
    if "trace" in parts:
        trace(bench)
    if "levers" in parts:
        levers(bench)
    if "large" in parts:
        backbones(bench, "large", together=False)
    if "others" in parts:
        backbones(bench, "others", together=True)
    if "input" in parts:
        with bench.quiet():
            input_rates(bench)
    if compiling is not None:
        peers(bench, compiling)
