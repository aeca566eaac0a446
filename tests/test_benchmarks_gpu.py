"""benchmarks/gpu.py runs from end to end on any machine, in miniature, and writes its tables."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu.py"
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu"}
TITLES = (
    "Training steps on a GPU",
    "The first step",
    "Levers",
    "ABE-2: the 20 longest kernels",
    "ABE-2: the 20 longest stages",
    "Input: training images a second by threads",
)


def measured(*arguments: object, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """The script's output."""
    command = [sys.executable, SCRIPT, "--small", *arguments]
    return subprocess.run(
        [str(part) for part in command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.slow
def test_the_gpu_benchmark_runs_in_miniature(tmp_path: Path) -> None:
    folder, target = tmp_path / "measured", tmp_path / "results.md"
    run = measured(
        *("--folder", folder, "--write", target, "--rounds", 2, "--steps", 1),
        *("--minutes", 13, "--arm-seconds", 400, "--compile-seconds", 2),
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    text = target.read_text()
    for title in TITLES:
        assert f"### {title}" in text, (folder / "workers.log").read_text()[-3000:]
    results = json.loads((folder / "results.json").read_text())
    own = {(r["part"], r["arm"]): r for r in results["rows"] if r["framework"] == "JAX"}
    assert all(row["seconds"] for row in own.values() if row["part"] != "cache"), own
    assert (folder / "tables.md").read_text() in text
    assert {("cache", "2 heads"), ("large", "convnet, GeM, batch 6")} <= set(own)
    stages = results["traces"]["ABE-2"]["stages"]
    assert any(row["name"].startswith("decoder, conv5") for row in stages), stages
    if importlib.util.find_spec("torch"):
        check_peers(results["rows"], own)
    # Another part joins what is there.
    more = measured("--folder", folder, "--more", "--parts", "input", "--minutes", 1)
    assert more.returncode == 0, more.stderr[-3000:]
    assert all(f"### {title}" in more.stdout for title in TITLES)


def check_peers(rows: list[dict], own: dict[tuple[str, str], dict]) -> None:
    """PyTorch ran the same networks."""
    theirs = {(row["arm"], row["mode"]): row for row in rows if row["framework"] == "PyTorch"}
    for arm in ("ABE-2", "single", "2 heads"):
        assert theirs[arm, "eager"]["seconds"], theirs[arm, "eager"]
        assert theirs[arm, "eager"]["parameters"] == own["paper", arm]["parameters"]
    # Compiling needs a C++ compiler; without one the reason stands in its place.
    compiled = theirs["single", "compiled"]
    assert compiled["seconds"] or compiled["error"]


@pytest.mark.slow
def test_time_that_is_over_leaves_what_was_measured(tmp_path: Path) -> None:
    run = measured("--folder", tmp_path, "--parts", "paper,trace", "--minutes", 0.01)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "### Not measured" in run.stdout
    assert json.loads((tmp_path / "results.json").read_text())["missing"]


@pytest.mark.slow
def test_a_measurement_that_is_ended_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--small", "--folder", str(tmp_path), "--no-torch"]
    run = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with run:
        log = tmp_path / "workers.log"
        end = time.monotonic() + 120
        while not log.exists() and time.monotonic() < end:
            time.sleep(0.1)
        listed = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        while not (children := listed.read_text().split()) and time.monotonic() < end:
            time.sleep(0.1)
        run.terminate()
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert children
    end = time.monotonic() + 10  # what was killed is there until its new parent has noticed
    while (left := [c for c in children if Path(f"/proc/{c}").exists()]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left
    assert "." in said  # the tables by then, of which there may be none


def test_what_it_does_not_know_is_one_line(tmp_path: Path) -> None:
    for arguments, said in (
        (("--parts", "paper,nothing"), "no nothing"),
        (("--lever", "A=1"), "two or more values"),
        (("--arm", "nobody"), "no 'nobody'"),
    ):
        run = measured("--folder", tmp_path, *arguments, timeout=120)
        assert run.returncode == 1
        assert said in run.stderr
        assert "Traceback" not in run.stderr
