"""The first thing that a user does: the quickstart, whole."""

import json
from pathlib import Path

import pytest
from processes import ROOT, run


@pytest.mark.slow
def test_the_quickstart_halves_the_error_of_raw_pixels(tmp_path: Path) -> None:
    done = run(
        "train",
        "--config",
        ROOT / "configs" / "quickstart.py",
        "--workdir",
        tmp_path / "run",
        data=tmp_path / "data",
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]["metrics"]
    error, of_pixels = 1 - found["ensemble"]["recall@1"], 1 - found["pixels"]["recall@1"]
    assert 0.15 < of_pixels < 0.4
    assert error <= of_pixels / 2
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
