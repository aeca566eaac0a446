"""FashionNet from the command line: trained and tested at given points, and refused without."""

import json
from pathlib import Path

import inshop_data
import pytest
from processes import TINY, run

pytestmark = pytest.mark.slow

GIVEN = (
    *inshop_data.SMALL,
    "model.fashion.pooled_at=given",
    "objective=[{'name':'category'},{'name':'triplet','soft':True}]",
    "train.steps=3",
    "optimizer.warmup=1",
)


def test_given_points_are_trained_and_tested_at(tmp_path: Path) -> None:
    data = inshop_data.prepare(tmp_path / "data")
    own = tuple(f"--config.{option}" for option in GIVEN)
    done = run("train", "--config", TINY, "--workdir", tmp_path / "run", *own, data=data)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]
    assert found["images"] == 9 and found["queries"] == 6
    again = run("evaluate", "--workdir", tmp_path / "run", data=data)
    assert again.returncode == 0, again.stderr
    # A photograph that comes without points has no vector.
    picture = next((data / "source").rglob("*.jpg")).parent
    own = ("--workdir", tmp_path / "run", "--out", tmp_path / "x.index")
    refused = run("index", "build", "--images", picture, *own, data=data)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "these images come without points" in refused.stderr
