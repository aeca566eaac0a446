"""A run measured without near-duplicates: by config, by the command and from Python."""

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import oracles
import pytest
from PIL import Image
from PIL.ExifTags import Base
from test_evaluation_whitened import TINY, saved

from abe_jax import config, data
from abe_jax.cli import evaluate
from abe_jax.config import checks, near_duplicates, stored
from abe_jax.config.other_data import OtherData
from abe_jax.data.split import Split
from abe_jax.errors import UserError
from abe_jax.evaluation import BySequence
from abe_jax.training.run_folder import RunFolder

PLAIN = ("model.kind=heads", "model.width=4", "evaluate.whiten=0", "data.threads=1")


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam promotes its counter
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of six photographs, of which the first two are of one shelf and one minute.

    The last two of each have no shelf in the CSV file, the fifth has no time, the last of all is
    broken.
    """
    folder, rng = tmp_path_factory.mktemp("shop"), np.random.default_rng(3)
    lines = ["path,label,shelf"]
    for label in range(4):
        for at in range(6):
            exif = Image.Exif()
            if at != 4:
                exif[Base.DateTime] = f"2024:05:31 1{label}:{10 * (at or 1)}:0{at}"
            pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            name, shelf = f"{label} {at}.jpg", f"{label} {max(at, 1)}" if at < 4 else ""
            Image.fromarray(pixels).resize((32, 32)).save(folder / name, exif=exif)
            lines.append(f"{name},{label},{shelf}")
    (folder / "3 5.jpg").write_bytes(b"broken")
    (folder / "shop.csv").write_text("\n".join(lines) + "\n")
    return folder / "shop.csv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that has evaluated nothing; tests that let it write take a copy."""
    with jax.numpy_dtype_promotion("standard"):
        return saved(tmp_path_factory.mktemp("run"), *PLAIN)


def asked(run: RunFolder, table: Path, *arguments: str) -> dict[str, Any]:
    unreadable = "--config.data.unreadable_share=0.1"
    evaluate.main(["--workdir", str(run.path), "--path", str(table), unreadable, *arguments])
    return json.loads(run.evaluation.read_text())[f"test of {table}"]


def loops(run: RunFolder, table: Path, captures: list[int]) -> tuple[dict[str, float], int]:
    """What is left by loops over the run's own vectors."""
    tested = data.folder(table, test_share=1.0, validation_classes=0).split("test")
    found = stored.embedder_of_run(run.path).embed(tested)
    codes = [captures[row] for row in found.image_ids]
    return oracles.retrieval(found.vectors, tested.labels[found.image_ids], (1, 2), groups=codes)


PAIRS = [row - (row % 6 == 1) for row in range(24)]  # the first two photographs of each class


def test_both_are_measured_and_the_ordinary_numbers_stay(run: RunFolder, table: Path) -> None:
    other = OtherData(name="folder", path=str(table), options=["data.unreadable_share=0.1"])
    plain = stored.run(run.path, other=other)
    asked = ["evaluate.near_duplicates=column", "data.capture_column=shelf"]
    numbers = dict(stored.run(run.path, other=other, near_duplicates=asked).evaluate().numbers)
    without = numbers.pop("without_near_duplicates")
    assert numbers == plain.evaluate().numbers  # to the bit
    expected, queries = loops(run, table, PAIRS)
    assert without["metrics"]["ensemble"] == pytest.approx(expected)
    assert (without["groups"], without["images_in_groups"]) == (4, 8)
    assert without["queries"] == queries == 23 and "'shelf'" in without["rule"]

    minute = dataclasses.replace(
        plain, tested=plain.tested._replace(near_duplicates=lambda: BySequence(seconds=1.5))
    )
    said: list[str] = []
    found = minute.measure("test", said.append).results
    assert found.numbers["without_near_duplicates"]["metrics"] == without["metrics"]
    assert any("5 of 24 images have no time of capture" in line for line in said)
    from_python = plain.evaluate(near_duplicates=BySequence(seconds=1.5))
    assert from_python.without_near_duplicates == found.without_near_duplicates


@pytest.mark.slow
def test_the_command_measures_by_each_rule(run, table, tmp_path, capsys, monkeypatch) -> None:
    run = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    ordinary = asked(run, table)
    without = asked(run, table, "--near-duplicates", "column", "--capture-column", "shelf").pop(
        "without_near_duplicates"
    )
    assert without["metrics"]["ensemble"] == pytest.approx(loops(run, table, PAIRS)[0])
    out = capsys.readouterr().out
    assert "(images of one value in the column 'shelf': 8 in 4 captures), 23 queries:" in out
    assert "8 in 4 captures" in run.report.read_text()

    found = asked(run, table, "--near-duplicates", "sequence", "--near-seconds", "0.5")
    assert found["without_near_duplicates"]["groups"] == 0
    assert found["without_near_duplicates"]["metrics"]["ensemble"] == pytest.approx(
        ordinary["metrics"]["ensemble"]
    )
    own = stored.embedder_of_run(run.path)
    monkeypatch.setattr(near_duplicates, "embedder_of_weights", lambda name: own)
    found = asked(run, table, "--near-duplicates", "distance", "--near-cosine", "-1")
    without = found["without_near_duplicates"]
    assert (without["queries"], without["metrics"]) == (0, {}) and "-1" in without["rule"]
    assert "efficientnet-lite0" in without["rule"] and "0 queries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--near-duplicates", "distanc"], r"--near-duplicates: .*did you mean 'distance'"),
        (["--near-cosine", "0.9"], "--near-cosine: goes with --near-duplicates distance"),
        (
            ["--near-duplicates", "sequence", "--capture-column", "shelf"],
            "--capture-column: goes with --near-duplicates column",
        ),
        (
            ["--near-duplicates", "column", "--capture-column", "shelv"],
            "no column 'shelv'; did you mean 'shelf'",
        ),
        (["--near-duplicates", "column"], "no captures; set capture_column .*'sequence'"),
        (["--near-duplicates", "distance", "--near-cosine", "2"], "near_cosine: 2.0 is too large"),
        (
            ["--near-duplicates", "distance", "--near-weights", "efficientnet-lite9"],
            r"near_weights: 'efficientnet-lite9' names no weights.*did you mean",
        ),
    ],
)
def test_mistakes_are_one_line(run, table, arguments: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line) as raised:
        asked(run, table, *arguments)
    assert "\n" not in str(raised.value) and not run.evaluation.exists()


def split_of(**known: Any) -> Split:
    labels = np.repeat(np.arange(4, dtype=np.int32), 2)
    names = tuple("abcd")
    return Split(name="test", records=[b""] * 8, labels=labels, class_names=names, **known)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("near_duplicates=colum", r"config.evaluate.near_duplicates: .*did you mean 'column'"),
        ("near_duplicates=column", r"config.evaluate.near_duplicates: 'column', but the images"),
        ("near_duplicates=sequence", r"config.evaluate.near_duplicates: 'sequence', but none of"),
        ("near_weights=nowhere.npz", r"config.evaluate.near_weights: 'nowhere.npz' names no"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused_before_training(override: str, line: str) -> None:
    overrides = ["evaluate.near_duplicates=distance", f"evaluate.{override}"]
    made = config.load(TINY, overrides)
    with pytest.raises(UserError, match=line):
        checks.check(made, split_of(), [split_of()])


def test_a_rule_that_fits_is_taken_and_none_is_the_default() -> None:
    captures = np.arange(8, dtype=np.int32)
    made = config.load(TINY, ["evaluate.near_duplicates=column"])
    near_duplicates.check(made, split_of(captures=captures))
    exif, out = Image.Exif(), io.BytesIO()
    exif[Base.DateTime] = "2024:05:31 12:00:07"
    Image.new("L", (8, 8)).save(out, "JPEG", exif=exif)
    timed = dataclasses.replace(split_of(), records=[*[b""] * 7, out.getvalue()])
    near_duplicates.check(config.load(TINY, ["evaluate.near_duplicates=sequence"]), timed)
    made = config.load(TINY)
    assert near_duplicates.capture_rule(made) is None
    near_duplicates.check(made, split_of())
    old = config.to_mapping(made)
    for name in ("near_duplicates", "near_seconds", "near_cosine", "near_weights"):
        del old["evaluate"][name]
    del old["data"]["capture_column"]
    assert config.from_mapping(old) == made


def test_a_runs_rule_is_not_asked_of_other_images(table: Path) -> None:
    own = config.load(TINY, ["evaluate.near_duplicates=column", "data.capture_column=shelf"])
    made = OtherData(name="folder", path=str(table)).applied(own)
    assert (made.evaluate.near_duplicates, made.data.capture_column) == ("", "")
    with pytest.raises(UserError, match="leave out --dataset and --path"):
        OtherData(name="glyphs_tiny").applied(own)
