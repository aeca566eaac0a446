"""The pieces of benchmarks/gpu.py: switches, workers that hang or die, tables."""

import os
import time
from pathlib import Path
from typing import Any

import gpu_arms
import gpu_jax
import gpu_tables
import pytest
from gpu_arms import FULL, SMALL, Arm, Lever, Setting, lever
from gpu_measure import Results
from gpu_sides import JAX, PYTORCH
from gpu_workers import Clock, LateError, Worker, WorkerError

SCRIPT = """
import os, time
import gpu_workers

def number(of):
    print("not an answer")
    os.system("echo nor this")
    return of + 1

def fail():
    raise RuntimeError("out of\\nmemory")

def slow(seconds):
    time.sleep(seconds)
    return "late"

commands = {"number": number, "fail": fail, "slow": slow, "die": lambda: os._exit(3)}
gpu_workers.serve(commands)
"""


@pytest.mark.parametrize(
    ("text", "values", "setting"),
    [
        ("xla_a=unset,true", ("unset", "true"), Setting(flags=("--xla_a=true",))),
        ("xla_b=;A,B", ("", "A,B"), Setting(flags=("--xla_b=A,B",))),
        ("model.norm=lrn,none", ("lrn", "none"), Setting(overrides=("model.norm=none",))),
        ("A_B=on,off", ("on", "off"), Setting(environment={"A_B": "off"})),
        ("A_B=on,unset", ("on", "unset"), Setting(environment={"A_B": None})),
    ],
)
def test_a_lever_is_what_its_name_says(text: str, values: Any, setting: Setting) -> None:
    made = lever("single", text)
    assert made.values == values
    assert made.setting(values[-1]) == setting


def test_an_unset_switch_is_left_alone() -> None:
    assert Lever(name="xla_a", values=(), arm="").setting("unset") == Setting()
    assert Lever(name="a.b", values=(), arm="").setting("unset") == Setting()
    assert lever("single", "xla_a=unset;").setting("") == Setting(flags=("--xla_a=",))


@pytest.mark.parametrize("text", ["a", "a=", "a=1", "a=1,1", "=1,2", "a b=1,2"])
def test_what_is_no_lever_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        lever("single", text)


@pytest.mark.parametrize("plan", [FULL, SMALL], ids=["full", "small"])
def test_the_plans_name_configs_that_load(plan: gpu_arms.Plan) -> None:
    for arm in (*plan.paper, *plan.large, *plan.others):
        made = gpu_jax.loaded(arm, plan.compute)
        facts = gpu_jax.facts(arm, made)
        assert facts["batch"] % 2 == 0 or arm.name.endswith("75")
        assert facts["compute"] == plan.compute
    names = {arm.name for arm in plan.paper}
    assert {plan.switched, *plan.traced, *(arm for arm, _ in plan.levers)} <= names
    assert all(len(lever(*each).values) > 1 for each in plan.levers)


@pytest.fixture
def worker(tmp_path: Path):
    """A worker of SCRIPT."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    made = Worker(script, environment, tmp_path / "log")
    yield made
    made.end()


def test_a_worker_answers_and_prints_elsewhere(worker: Worker, tmp_path: Path) -> None:
    assert [worker.ask("number", 60, of=n) for n in (1, 2)] == [2, 3]
    assert "not an answer" in (tmp_path / "log").read_text()
    assert "nor this" in (tmp_path / "log").read_text()


def test_what_a_worker_raises_is_told_and_it_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerError, match=r"^RuntimeError: out of memory$"):
        worker.ask("fail", 60)
    assert worker.ask("number", 60, of=1) == 2


def test_a_worker_that_hangs_is_ended(worker: Worker) -> None:
    assert worker.ask("number", 60, of=1) == 2
    start = time.monotonic()
    with pytest.raises(LateError, match="within 1 s"):
        worker.ask("slow", 1, seconds=100)
    assert time.monotonic() - start < 50
    assert not worker.running
    with pytest.raises(WorkerError, match="ended"):
        worker.ask("number", 60, of=1)


def test_a_worker_that_dies_is_told_of(worker: Worker) -> None:
    for _ in range(2):
        with pytest.raises(WorkerError, match="ended with 3"):
            worker.ask("die", 60)


def test_a_paused_worker_stands_still(worker: Worker) -> None:
    assert worker.ask("number", 60, of=1) == 2
    worker.pause()
    worker.send("number", of=2)
    worker.send("number", of=3)
    time.sleep(0.3)
    assert worker._answers.empty()
    worker.resume()
    assert (worker.receive(60), worker.receive(60)) == (3, 4)


def test_time_that_is_over_is_not_given() -> None:
    now = [0.0]
    clock = Clock(10.0, lambda: now[0])
    assert (clock.limit(3.0), clock.limit(30.0)) == (3.0, 10.0)
    now[0] = 11.0
    assert clock.left() == 0.0
    with pytest.raises(WorkerError, match="over"):
        clock.limit(3.0)


def rows() -> list[dict[str, Any]]:
    """Rows as a run leaves them."""
    peer = {"batch": 64}
    known = {"multiply_adds": 10**9, "parameters": 10**6, "peer": peer, "first_s": 60.0}
    step = {"part": "paper", "arm": "ABE-8", "framework": JAX, **known, "gib": 1.5}
    lever_row = {**step, "part": "levers", "lever": "X", "first": "on", "number": 0}
    theirs = {"arm": "ABE-8", "framework": PYTORCH, "parameters": 10**6, "first_s": 30.0}
    return [
        {**step, "seconds": [0.03, 0.01, 0.02]},
        {**step, "part": "cache", "first_s": 7.0, "seconds": []},
        {**step, "part": "peers", "seconds": [0.02, 0.02]},
        {**theirs, "part": "peers", "mode": "eager", "seconds": [0.04, 0.05, 0.06]},
        {**theirs, "part": "peers", "mode": "compiled", "seconds": [], "error": "no answer"},
        {**lever_row, "value": "on", "seconds": [0.02]},
        {**lever_row, "value": "", "seconds": [0.03]},
    ]


def test_tables_of_a_run() -> None:
    trace = {
        "kernels": [
            {"name": f"k{i}", "milliseconds": 1.0, "launches": 2.0, "mostly": "decoder"}
            for i in range(25)
        ],
        "stages": [], "span_ms": 30.0, "busy_ms": 25.0, "launches": 50.0,
    }  # fmt: skip
    results = Results(
        rows=rows(),
        ceilings={JAX: [8e14, 8e14]},
        traces={"ABE-8": trace},
        missing=["trace of single: no answer within 60 s"],
    )
    made = {table.title: table for table in gpu_tables.tables(results)}
    ours, theirs = made["Training steps on a GPU"].rows
    assert ours[:3] == ("ABE-8", "JAX", "20.0")
    assert (theirs[1], theirs[2], theirs[4]) == ("PyTorch eager", "50.0", "2.50")
    assert ours[6:8] == ("0.300", "0.0 %")
    first = made["The first step"].rows
    assert first[0] == ("ABE-8", "JAX", "60.0", "7.00", "-")
    assert [row[5] for row in made["Levers"].rows] == ["1.00", "1.50"]
    kernels = made["ABE-8: the 20 longest kernels"].rows
    assert len(kernels) == 21
    assert kernels[-1][:3] == ("5 others", "5.000", "10")
    missing = [row[0] for row in made["Not measured"].rows]
    assert "peers: ABE-8, PyTorch compiled" in missing
    assert "trace of single" in missing


def test_the_ways_under_test_are_those_that_there_are() -> None:
    ways = pytest.importorskip("abe_jax.ways", reason="there are none yet")
    assert set(gpu_arms.PIECES) == set(ways.PIECES)
    step = gpu_jax._within(gpu_jax._chosen("bias,norm"), lambda: ways.taken("bias"))
    assert step()
    with pytest.raises(ValueError, match="has no nothing"):
        gpu_jax._chosen("bias,nothing")


def test_arms_are_told_apart_by_their_names() -> None:
    for plan in (FULL, SMALL):
        arms: tuple[Arm, ...] = (*plan.paper, *plan.large, *plan.others)
        assert len({arm.name for arm in arms}) == len(arms)
