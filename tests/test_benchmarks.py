"""The benchmarks run from end to end and write their tables."""

import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT


@pytest.mark.slow
def test_benchmarks_run_and_write(tmp_path: Path) -> None:
    target = tmp_path / "results.md"
    command = [sys.executable, "-m", "pytest", "benchmarks", "-m", "slow or not slow"]
    small = ["--rounds", "1", "--budget", "0"]
    # Traces of the paper's sizes, of which each takes up to half a minute; in bfloat16 they remain.
    small += ["--deselect", "benchmarks/test_ways.py::test_the_steps_operations"]
    small += ["-k", "not (papers_size_lowers and float32)"]
    run = subprocess.run(
        [*command, *small, "--write", str(target), "--figures", str(tmp_path / "figures")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2400,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn >= {"batch.png", "learners.png", "gallery.pdf", "classes.png"}
    text = target.read_text()
    for title in (
        "Training step: convnet",
        "Contrastive loss",
        "Divergence",
        "Exact neighbours",
        "Index on disk",
        "Rankings of whole splits",
        "Rankings of large classes",
        "Products of",
        "The k smallest of",
        "Counting the bits",
        "A first pass of",
        "Growth: losses over pairs",
        "Growth: learners",
        "Growth: an index",
        "Growth: classes",
        "Time lost a checkpoint",
        "Effective",
    ):
        assert f"### {title}" in text
        assert f"### {title}" in run.stdout
