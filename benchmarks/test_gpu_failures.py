"""What benchmarks/gpu.py says and keeps where arms fail, hang or die: workers of their own kind."""

import dataclasses
import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu
import gpu_jax
import gpu_measure
import gpu_parts
import gpu_programs
import gpu_sides
import gpu_tables
import gpu_trace
import jax
import pytest
from gpu_arms import SMALL, Arm, lever
from gpu_measure import Bench, Options, Results
from gpu_sides import JAX, PYTORCH

SCRIPT = """
import os, pathlib, signal, sys, time
import gpu_workers

times = {}

def about():
    return {"machine": "a stub", "platform": PLATFORM, "import_s": 1.0, "device_s": 1.0}

def prepare(name, arm=None, facts=None, **others):
    asked = (arm or facts)["name"]
    print("preparing", asked, flush=True)
    times[name] = asked
    if asked == "fails":
        raise RuntimeError("out of memory")
    if asked == "hangs":
        time.sleep(1000)
    if asked == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    peer = {"name": asked, "batch": 8}
    return {"first_s": 1.0, "parameters": 5, "multiply_adds": 7, "gib": None, "peer": peer}

def seconds(name, steps):
    flag = pathlib.Path(__file__).with_suffix(".flag")
    if times.get(name) == "dies later" and flag.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if times.get(name) == "dies later":
        flag.touch()
    return 0.5

def trace(name, steps):
    raise ValueError("the profiler saw no kernel")

commands = [about, prepare, seconds, trace]
gpu_workers.serve({c.__name__: c for c in commands} | {"ceiling": lambda **_: 4.0})
"""
NAMES = ("first", "fails", "hangs", "dies", "dies later", "last")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A measurement whose workers are stubs, with an arm of each way to go wrong."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("PLATFORM", "'cpu'"))
    monkeypatch.setattr(gpu_measure, "SCRIPTS", {JAX: str(script), PYTORCH: str(script)})
    monkeypatch.setenv("PYTHONPATH", str(Path(gpu_sides.__file__).parent))
    monkeypatch.setattr(gpu_sides, "ONCE", 5.0)
    arms = tuple(Arm(name=name, config="", peers=("eager",)) for name in NAMES)
    plan = dataclasses.replace(SMALL, paper=arms, large=(), others=arms[:1], traced=("last",))
    options = Options(
        plan=plan, levers=(), parts=("paper", "trace", "levers", "others"), folder=tmp_path,
        rounds=3, steps=1, seconds=60.0, arm_seconds=1.0, compile_seconds=1.0, torch=True,
    )  # fmt: skip
    made = Bench(options, Results())
    yield made
    made.end()


def by_arm(results: Results, part: str, framework: str = JAX) -> dict[str, dict[str, Any]]:
    return {
        row["arm"]: row
        for row in results.rows
        if row["part"] == part and row["framework"] == framework
    }


def test_an_arm_that_fails_hangs_or_dies_leaves_the_others(bench: Bench) -> None:
    gpu_parts.paper(bench)
    rows = by_arm(bench.results, "paper")
    assert [len(rows[name]["seconds"]) for name in NAMES] == [3, 0, 0, 0, 1, 3]
    assert rows["fails"]["error"] == "RuntimeError: out of memory"
    assert rows["hangs"]["error"] == "no answer within 1 s"
    assert rows["dies"]["error"] == "its process was ended by signal 9"
    assert rows["dies later"]["error"] == "while it was timed: its process was ended by signal 9"
    kept = json.loads((bench.options.folder / gpu_measure.RESULTS).read_text())
    assert [row["seconds"] for row in kept["rows"]] == [r["seconds"] for r in rows.values()]
    missing = {row[0]: row[1] for row in gpu_tables.missing(bench.results).rows}
    assert set(missing) == {f"paper: {name}, JAX" for name in NAMES[1:5]}
    steps = gpu_tables.steps(bench.results)
    assert [row[0] for row in steps.rows] == ["first", "dies later", "last"]


def test_a_trace_that_fails_is_a_line(bench: Bench) -> None:
    gpu_parts.trace(bench)
    assert bench.results.missing == ["trace of last: ValueError: the profiler saw no kernel"]


def test_peers_run_beside_ours_and_lacking_ones_are_left_out(bench: Bench) -> None:
    gpu_parts.others(bench)
    assert by_arm(bench.results, "others")["first"]["seconds"] == [0.5] * 3
    assert by_arm(bench.results, "others", PYTORCH)["first"]["seconds"] == [0.5] * 3
    bench.options = dataclasses.replace(bench.options, torch=False)
    before = len(bench.results.rows)
    gpu_parts.others(bench)
    assert [row["framework"] for row in bench.results.rows[before:]] == [JAX]


def test_levers_share_a_process_where_one_can_have_both(bench: Bench) -> None:
    pulled = ("model.norm=unset,none", "A_B=unset,1", "xla_a=1,2")
    bench.options = dataclasses.replace(
        bench.options, levers=tuple(lever("last", text) for text in pulled)
    )
    started = []
    start = bench.started
    bench.started = lambda *given: started.append(given) or start(*given)  # type: ignore[method-assign]
    gpu_parts.levers(bench)
    environments = [setting.environment for _, setting, *_ in started]
    assert environments == [{}, {"A_B": None}, {"A_B": "1"}, {}, {}]
    assert [setting.flags for _, setting, *_ in started][3:] == [("--xla_a=1",), ("--xla_a=2",)]
    made = gpu_tables.levers(bench.results).rows
    assert [row[2] for row in made] == ["unset", "none", "unset", "1", "1", "2"]
    assert {row[5] for row in made} == {"1.00"}


def test_without_a_gpu_the_full_plan_measures_nothing(bench: Bench) -> None:
    plan = dataclasses.replace(bench.options.plan, gpu=True)
    bench.options = dataclasses.replace(bench.options, plan=plan)
    gpu_parts.paper(bench)
    assert bench.results.missing == ["paper, JAX: JAX sees no GPU, only cpu"]
    assert bench.results.rows == []


def test_what_compiles_beside_is_taken_or_said_to_lack(bench: Bench) -> None:
    arms = tuple(Arm(name=name, config="", peers=("compiled",)) for name in ("first", "hangs"))
    plan = dataclasses.replace(bench.options.plan, paper=arms)
    bench.options = dataclasses.replace(bench.options, plan=plan, compile_seconds=3.0)
    for arm in arms:
        bench.row("paper", JAX, arm)["peer"] = {"name": arm.name}
    compiling = gpu_parts.Compiling(bench)
    taken = compiling.taken(bench.clock("peers"))
    assert [timed.row["arm"] for timed in taken] == ["first"]
    lacking = by_arm(bench.results, "peers", PYTORCH)["hangs"]
    assert lacking["error"].startswith("torch.compile: no answer within")
    assert not bench.background


def test_memory_that_is_not_told_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def devices() -> Any:
        raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: no statistics")

    monkeypatch.setattr(gpu_programs.jax, "devices", devices)
    program, about = gpu_programs.Programs().newest()
    assert program is None
    assert (about["gib"], about["instructions"]) == (None, None)
    assert "no statistics" in about["untold"]
    row = {"part": "paper", "arm": "x", "framework": JAX, "seconds": [1.0], **about}
    said = gpu_tables.missing(Results(rows=[row])).rows
    assert [what for what, _ in said] == ["paper: x, memory and instructions"]


def test_a_trace_without_kernels_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_trace.events(SimpleNamespace(planes=[])) == []
    steps = gpu_jax.Steps()
    run = functools.partial(jax.numpy.ones, 3)
    steps._ready["x"] = gpu_jax.Ready(run)
    monkeypatch.setattr(gpu_trace, "events", lambda profile: [])
    with pytest.raises(ValueError, match="no kernel"):
        steps.trace("x", 1)


def test_the_tables_are_written_after_each_arm(bench: Bench) -> None:
    written: list[str] = []
    bench._show = lambda results: written.append("\n".join(map(str, gpu.shown(results))))
    gpu_parts.others(bench)
    assert len(written) >= 3
    assert "first" in written[-1]
