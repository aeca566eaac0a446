"""FashionNet from the command line: trained and tested at given points, and refused without."""

import dataclasses
import json
from pathlib import Path

import cv2
import inshop_data
import numpy as np
import pytest
from processes import TINY, run

import abe_jax
from abe_jax.config import stored
from abe_jax.config.other_data import OtherData
from abe_jax.errors import ArgumentError

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
    assert "and files of images come without; take a network that predicts" in refused.stderr


def listed(folder: Path) -> Path:
    """Six classes, each of an image's own colours, and a CSV file with two points on each image."""
    rows, made = ["path,label,split,joints"], np.random.default_rng(0)
    for i in range(24):
        pixels = np.full((40, 32, 3), 40 * (i % 6), np.uint8) + made.integers(0, 30, (40, 32, 3))
        (folder / f"{i}.png").write_bytes(
            cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes()
        )
        part = ("train", "train", "train", "val", "test", "test")[i % 6]
        rows.append(f"{i}.png,{i % 6},{part},{'' if i == 1 else f'{i} 20 1;30 {i} 1'}")
    path = folder / "labels.csv"
    path.write_text("\n".join(rows))
    return path


def test_points_of_a_csv_file_are_trained_and_tested_at(tmp_path: Path) -> None:
    table, folder = listed(tmp_path), tmp_path / "run"
    changed = ("data.name=folder", "data.validation_classes=0", f"data.path={table}")
    named = ("data.points_column=joints", "data.point_pairs=((0,1),)", "model.fashion.landmarks=2")
    terms = ("objective=[{'name':'triplet','soft':True}]", "train.batch=12")
    own = [f"--config.{option}" for option in (*GIVEN, *changed, *named, *terms)]
    done = run("train", "--config", TINY, "--workdir", folder, *own, data=tmp_path)
    assert done.returncode == 0, done.stderr
    again = run("evaluate", "--workdir", folder, data=tmp_path)
    assert again.returncode == 0, again.stderr
    trained = abe_jax.load(folder)
    assert isinstance(trained, abe_jax.Run)
    test = trained.tested.dataset.split("test")
    found = json.loads((folder / "evaluation.json").read_text())["test"]
    assert found["images"] == 8
    # The points decide where the network looks.
    assert test.annotations is not None and test.annotations.points is not None
    moved = test.annotations._replace(points=test.annotations.points * [0.5, 0.5, 1])
    one, other = (
        trained.embedder.embed(dataclasses.replace(test, annotations=known)).vectors
        for known in (test.annotations, moved)
    )
    assert np.abs(one - other).max() > 1e-3
    with pytest.raises(ArgumentError, match=r"^longest: kind 'fashion_net' has fully connected"):
        trained.at(longest=64)
    with pytest.raises(ArgumentError, match=r"^whiten_path: .* come without points"):
        trained.whitened_on(tmp_path)
    others = table.with_name("others.csv")
    others.write_text(table.read_text())
    refused = run("evaluate", "--workdir", folder, "--path", others, data=tmp_path)
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
    assert "pooled_at: 'given', but the images of test of" in refused.stderr
    assert "set points_column to the column of the CSV file" in refused.stderr
    column = OtherData(name="folder", path=str(others), options=["data.points_column=joints"])
    assert stored.run(folder, other=column).measure().results.numbers["images"] == 8
