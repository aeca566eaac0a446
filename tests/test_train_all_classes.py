"""`data.validate=False`: all classes but the test's are trained on, and the last state is taken."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import TINY
from tiny_config import SMALLER

from abe_jax import config
from abe_jax.cli import compare, train
from abe_jax.config import build, stored
from abe_jax.config.training import prepare_training
from abe_jax.data import Dataset, Split, folder, glyphs
from abe_jax.data.all_classes import both
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources.datasets import named
from abe_jax.errors import UserError
from abe_jax.report import tables
from abe_jax.training import checkpoint
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.stop import StopRequest

pytestmark = pytest.mark.usefixtures("as_a_user")

ALL = [
    *SMALLER,
    "data.validate=False",
    "optimizer.schedule=constant",
    "train.steps=4",
    "train.checkpoint_every=2",
    "train.log_every=1",
]


def part(name: str, labels: list[int], images: list[bytes], start: int) -> Split:
    each = np.arange(len(labels), dtype=np.int32)
    return Split(
        name=name,
        records=images,
        labels=np.array(labels, np.int32),
        groups=each % 2,
        class_names=tuple(f"class {start + label}" for label in range(max(labels) + 1)),
        group_names=("a", "b"),
        paths=tuple(f"{name}/{i}" for i in each),
        object_ids=each,
        captures=each // 2,
    )


def test_two_splits_become_one_whose_images_keep_what_is_theirs() -> None:
    made = both(
        part("train", [0, 1, 1], [b"x", b"y", b"z"], 0), part("val", [1, 0], [b"v", b"w"], 2)
    )
    assert [made.records[i] for i in range(len(made.records))] == [b"x", b"y", b"z", b"v", b"w"]
    assert [made.class_names[label] for label in made.labels] == [
        f"class {i}" for i in (0, 1, 1, 3, 2)
    ]
    assert made.name == "train" and made.paths[2:4] == ("train/2", "val/0")
    assert made.groups is not None and made.groups.tolist() == [0, 1, 0, 0, 1]
    assert made.object_ids is not None and made.object_ids.tolist() == [0, 1, 2, 3, 4]
    assert made.captures is not None and made.captures.tolist() == [0, 0, 1, 2, 2]


def test_a_set_s_own_validation_classes_are_trained_on(tiny_data: Path) -> None:
    usual, complete = glyphs(tiny_data, tiny=True), glyphs(tiny_data, tiny=True, validate=False)
    train, val = usual.split("train"), usual.split("val")
    found = complete.split("train")
    assert found.class_names == train.class_names + val.class_names
    assert np.unique(found.labels).tolist() == list(range(complete.classes))
    assert found.records[len(train.labels)] == val.records[0]
    assert complete.split("test").class_names == usual.split("test").class_names
    with pytest.raises(UserError, match=r"^validate: False, so glyphs_tiny keeps no class for val"):
        complete.split("val")


def test_of_a_folder_no_class_is_kept_whatever_number_is_asked_for(tmp_path: Path) -> None:
    for name in ("ant", "bee", "cat", "dog"):
        (tmp_path / name).mkdir()
        for image in range(2):
            (tmp_path / name / f"{image}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    kept = folder(tmp_path, validation_classes=1).split("train").class_names
    options = SourceOptions(path=str(tmp_path), validation_classes=1, validate=False)
    complete = named("folder", options)
    assert len(kept) == 1 and complete.classes == 2
    assert folder(tmp_path, validate=False).split("train").class_names == (
        complete.split("train").class_names
    )


def test_a_data_set_without_validation_images_has_nothing_to_choose_by(tiny_data: Path) -> None:
    given = glyphs(tiny_data, tiny=True)
    parts = {name: given.split(name) for name in ("train", "val", "test")}
    assert Dataset.of_splits(**parts).validate
    assert not Dataset.of_splits(parts["train"], test=parts["test"]).validate


def fitted(path: Path, stop_after: int = 0, *overrides: str) -> list[str]:
    """What a training said; it is asked to stop when it has said the line of a step, if any."""
    said: list[str] = []
    stop = StopRequest()

    def say(line: str) -> None:
        said.append(line)
        if stop_after and f"step {stop_after}/" in line:
            stop.ask()

    with prepare_training(config.load(TINY, [*ALL, *overrides]), path, say) as training:
        training.fit(stop, say)
    return said


def kept(path: Path) -> tuple[list[int], dict]:
    best = Checkpoints(RunFolder(path).best, 1)
    like = build.recipe(config.read_json(RunFolder(path).config)).abstract()
    about = best.restore(like)[1]
    best.close()
    return best.steps(), about


def test_the_last_checkpoint_is_taken_and_everything_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    train.run(config.load(TINY, ALL), path)
    said = capsys.readouterr().out
    assert "no class is kept for validation: the last checkpoint is taken" in said
    assert f"step 4, {tables.LAST}\n" in said
    steps, about = kept(path)
    latest = Checkpoints(RunFolder(path).latest, 2)
    like = build.recipe(config.read_json(RunFolder(path).config)).abstract()
    assert steps == [4] and about["digest"] == latest.restore(like)[1]["digest"]
    latest.close()
    tested = json.loads((path / "evaluation.json").read_text())["test"]
    assert (tested["step"], tested["checkpoint"]) == (4, tables.LAST)
    page = (path / "report.html").read_text()
    assert page.count("the last, chosen by nothing") and "the last checkpoint taken" in page
    with (path / "metrics.csv").open(newline="") as file:
        assert not [name for name in next(csv.reader(file)) if name.startswith("val_")]
    assert stored.run(path).select == ""
    made = config.read_json(path / "config.json").data
    complete = glyphs(made.root, tiny=True)
    both_parts = complete.classes + len(complete.split("val").class_names)
    assert (made.validation_classes, made.classes) == (0, both_parts)
    train.run(config.load(TINY, ALL), path)
    assert "finished before, all 4 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_checkpoint_of_one_that_never_stopped(tmp_path: Path) -> None:
    fitted(tmp_path / "whole")
    fitted(tmp_path / "run", 2)  # asked while the second step's line is said
    assert kept(tmp_path / "run")[0] == [3]  # the last so far: it can be tested meanwhile
    fitted(tmp_path / "run")
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")
    longer = fitted(tmp_path / "run", 0, "train.steps=6")
    assert "going on from step 4 of 6" in longer and kept(tmp_path / "run")[0] == [6]


@pytest.mark.slow
def test_a_last_checkpoint_that_a_kill_left_unwritten_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.Checkpoints.save

    def unless_last(self: Checkpoints, state: object, about: dict) -> None:
        if not (about and int(state.step) == 4):  # pyright: ignore[reportAttributeAccessIssue]
            save(self, state, about)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoints, "save", unless_last)
        fitted(tmp_path / "run")
        assert RunFolder(tmp_path / "run").latest.joinpath("4").is_dir()
        assert Checkpoints.steps_in(RunFolder(tmp_path / "run").best) != [4]
    fitted(tmp_path / "run")
    assert kept(tmp_path / "run")[0] == [4]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--then-all"], "--then-all: leaves no validation classes to measure on; --split test"),
        (["--config.data.validate=False"], "--split val: config.data.validate is False"),
        (
            ["--config.data.validate=False", "--split", "test", "--tune", "train.batch=8,16"],
            "--tune: config.data.validate is False",
        ),
    ],
)
def test_nothing_is_chosen_or_measured_on_classes_that_are_not_kept(
    asked: list[str], says: str, tmp_path: Path
) -> None:
    small = [f"--config.{override}" for override in SMALLER]
    with pytest.raises(UserError, match=f"^{says}"):
        compare.main(
            ["--config", str(TINY), "--workdir", str(tmp_path), "--arm", "one:", *small, *asked]
        )


@pytest.mark.slow
def test_compare_tunes_on_validation_classes_and_then_trains_on_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"--config.{override}" for override in SMALLER]
    asked = ["--seeds", "1", "--rounds", "0", "--split", "test", "--then-all"]
    asked += ["--tune", "optimizer.rate=0.001,0.01"]
    compare.main(
        ["--config", str(TINY), "--workdir", str(tmp_path), "--arm", "one:", *small, *asked]
    )
    said = capsys.readouterr().out
    assert "one: optimizer.rate on validation classes: 0.001: " in said
    (run,) = tmp_path.glob("*, all classes seed 0")
    made = json.loads((run / "config.json").read_text())
    assert not made["data"]["validate"] and made["optimizer"]["rate"] in (0.001, 0.01)
    assert f"| {run.name.removesuffix(' seed 0')} |" in (tmp_path / "table.md").read_text()
    assert jax.tree.leaves(json.loads((run / "evaluation.json").read_text())["test"]["metrics"])
