"""Images of the user's own: folders of classes, CSV files, and what is refused of them."""

import json
import os
import re
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from processes import TINY

from abe_jax import config
from abe_jax.cli import evaluate, train
from abe_jax.data import (
    SPLITS,
    Dataset,
    Preprocessing,
    SourceOptions,
    Split,
    folder,
    loader,
    named,
)
from abe_jax.data.sources import class_splits
from abe_jax.errors import ArgumentError, UserError
from abe_jax.runs.run import Run
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.unreadable import Unreadable

LABELS = ("001", "01", "1", "2", "12", "9" * 999, "nan", "\u0663" * 5000)
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen")


SEEN = Preprocessing(resize=8, size=8)


def data(path: Path, **changes) -> Dataset:
    return named("folder", SourceOptions(**{"path": str(path), "validation_classes": 1, **changes}))


def picture(value: int) -> bytes:
    return cv2.imencode(".png", np.full((8, 8, 3), value, np.uint8))[1].tobytes()


def draw(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(value))


def values(split: Split) -> list[int]:
    """What each image of a split shows, read through its records."""
    decoded = [SEEN.decode(split.records[i]) for i in range(len(split.labels))]
    return [int(image[0, 0, 0]) for image in decoded]


def classes(chosen: Dataset) -> dict[str, set[str]]:
    return {name: set(chosen.split(name).class_names) for name in SPLITS}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Eight classes of three images, whose values are 10 * class + image."""
    for c, name in enumerate(NAMES):
        for i in range(3):
            draw(tmp_path / "pictures" / name / f"{i}.png", 10 * c + i)
    return tmp_path / "pictures"


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    for c, name in enumerate(NAMES):
        for i in range(2):
            part = "train" if c < 5 else "test"
            draw(tmp_path / "parted" / part / name / f"{i}.png", 10 * c + i)
    return tmp_path / "parted"


def table(path: Path, rows: list[str], columns: str = "path,label,split") -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def test_classes_of_a_folder_are_divided_and_every_image_keeps_its_class(plain):
    chosen = data(plain)
    parts = classes(chosen)
    assert [len(parts[name]) for name in SPLITS] == [3, 1, 4]
    assert set.union(*parts.values()) == set(NAMES)
    for name in SPLITS:
        split = chosen.split(name)
        assert split.name == name and split.groups is None and split.labels.dtype == np.int32
        np.testing.assert_array_equal(np.unique(split.labels), np.arange(len(split.class_names)))
        shown = [
            (split.class_names[c], v) for c, v in zip(split.labels, values(split), strict=True)
        ]
        assert shown == [
            (c, 10 * NAMES.index(c) + i) for c in sorted(parts[name]) for i in range(3)
        ]
        assert split.paths == tuple(f"{c}/{i}.png" for c in sorted(parts[name]) for i in range(3))


def test_the_division_is_fixed_and_a_new_class_leaves_the_order_of_the_others(plain):
    # By sha256sum of each name: elk bee ant fox cat gnu dog hen; owl comes before all.
    found = classes(data(plain, test_share=0.25, validation_classes=2))
    assert found == {
        "train": {"elk", "bee", "ant", "fox"},
        "val": {"cat", "gnu"},
        "test": {"dog", "hen"},
    }
    draw(plain / "owl" / "0.png")
    more = classes(data(plain, test_share=0.25, validation_classes=2))
    assert more == {**found, "train": found["train"] | {"owl"}}


def test_only_images_count_whatever_their_case_depth_and_links(tmp_path):
    draw(tmp_path / "set" / "b" / "deep" / "er" / "One.JPG", 1)
    draw(tmp_path / "set" / "b" / "two.JpEg", 2)
    draw(tmp_path / "elsewhere" / "three.webp", 3)
    (tmp_path / "set" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b" / "round").symlink_to(tmp_path / "set" / "b")
    (tmp_path / "set" / "b" / "up").symlink_to(tmp_path / "set")
    draw(tmp_path / "set" / "b" / "png", 4)
    for other in ("b/.hidden.png", "b/.git/x.png", "b/notes.txt", "loose.png", ".c/x.png"):
        draw(tmp_path / "set" / other)
    (tmp_path / "set" / "empty").mkdir()
    before = sorted(os.walk(tmp_path))
    chosen = data(tmp_path / "set", validation_classes=0)
    both = [chosen.split(name) for name in ("train", "test")]
    assert sorted(path for split in both for path in split.paths) == [
        "a/three.webp",
        "b/deep/er/One.JPG",
        "b/png",
        "b/two.JpEg",
    ]
    assert sorted(os.walk(tmp_path)) == before


def test_sub_folders_called_train_and_test_are_splits(parted):
    assert classes(data(parted, validation_classes=2)) == {
        "train": {"elk", "bee", "ant"},
        "val": {"cat", "dog"},
        "test": set(NAMES[5:]),
    }
    split = data(parted).split("test")
    assert values(split) == [50, 51, 60, 61, 70, 71]


def test_validation_images_of_the_datas_own_are_taken(parted):
    draw(parted / "valid" / "yak" / "0.png")
    assert classes(data(parted, validation_classes=0))["val"] == {"yak"}
    with pytest.raises(UserError, match=r"validation_classes: 1, but .* of its own: leave it at 0"):
        data(parted).prepare()


def test_a_fifth_of_the_training_classes_validates_where_nothing_is_said(plain, parted, tmp_path):
    assert [len(folder(plain).split(name).class_names) for name in SPLITS] == [3, 1, 4]
    assert len(folder(plain, test_share=1.0).split("test").class_names) == 8  # none to keep
    draw(parted / "valid" / "yak" / "0.png")
    assert folder(parted).split("val").class_names == ("yak",)
    draw(tmp_path / "two" / "ant" / "0.png")
    draw(tmp_path / "two" / "bee" / "0.png")
    assert len(folder(tmp_path / "two").split("train").class_names) == 1  # the last is not kept


def test_a_csv_file_names_path_label_and_split(tmp_path):
    for i in range(6):
        draw(tmp_path / "all" / f"{i}.png", i)
    rows = ["all/0.png, 10,train", "all/1.png,9,Train", "./all/2.png,10,train"]
    rows += ["all/3.png,x,test", "all/4.png,y,validation", "all/../all/5.png,x,test"]
    path = table(tmp_path / "list.csv", rows)
    chosen = data(path, validation_classes=0)
    train, test = chosen.split("train"), chosen.split("test")
    assert train.class_names == ("9", "10")  # numbers as numbers
    assert train.labels.tolist() == [1, 0, 1] and values(train) == [0, 1, 2]
    assert test.class_names == ("x",) and values(test) == [3, 5]
    assert chosen.split("val").class_names == ("y",)


@pytest.mark.parametrize("columns", ["path,breed", "path,breed,split"])
def test_a_csv_file_without_splits_is_divided_as_a_folder_is(plain, columns):
    end = "," if columns.endswith("split") else ""
    rows = [f"{name}/{i}.png,{name}{end}" for name in NAMES for i in range(3)]
    path = table(plain / "list.csv", rows, "\ufeff" + columns)
    assert classes(data(path, label_column="breed")) == classes(data(plain))


def test_a_file_that_vanishes_is_an_unreadable_image_that_is_named(plain, tmp_path):
    split = data(plain).split("train")
    (plain / split.paths[4]).unlink()
    assert split.records[4] == b""
    (batch,) = loader.in_order(split, SEEN, len(split.labels))
    np.testing.assert_array_equal(np.flatnonzero(~batch.mask), [4])
    note = Unreadable(RunFolder(tmp_path), split, 0.5, lambda line: None)
    note.add(batch.image_ids[~batch.mask])
    assert RunFolder(tmp_path).unreadable.read_text() == "train\t4\tof class bee\tbee/1.png\n"


def test_names_that_are_no_text_are_shown_all_the_same(tmp_path):
    for name in (b"caf\xe9", b"th\xe9"):
        draw(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b"/\xff.png")), 7)
    split = data(tmp_path, validation_classes=0).split("train")
    names = {"caf\\xe9", "th\\xe9"}  # one to train with, one to test with
    assert set(split.class_names) < names and split.paths == (f"{split.class_names[0]}/\\xff.png",)
    assert values(split) == [7]


def refused(chosen: Dataset, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        chosen.split(split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there_names_what_is(plain, tmp_path):
    assert refused(named("folder")).startswith("path: the data set 'folder' needs the path")
    assert f"did you mean '{plain}'" in refused(data(tmp_path / "picture"))
    assert "no image" in refused(data(plain / "ant"))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "ant").symlink_to(plain / "ant")
    assert "one class, 'ant'" in refused(data(tmp_path / "one"))


def test_a_class_in_two_splits_is_named(parted):
    draw(parted / "test" / "bee" / "9.png")
    said = refused(data(parted))
    assert "'bee'" in said and "train" in said and "test_share" in said


def test_a_label_of_very_many_digits_is_a_label(plain):
    pairs = list(zip(NAMES, LABELS, strict=True))
    rows = [f"{name}/{i}.png,{label}" for i in (0, 1) for name, label in pairs]
    made = data(table(plain / "t.csv", rows, "path,label"), test_share=0.5, validation_classes=0)
    named = [made.split(name).class_names for name in ("train", "test")]
    assert sorted(sum(named, ())) == sorted(LABELS)
    assert all(list(part) == sorted(part, key=LABELS.index) for part in named)


def test_splits_beside_another_folder_are_not_taken_for_classes(parted):
    draw(parted / "extra" / "bee" / "9.png")
    assert "'extra'" in refused(data(parted))


def test_a_split_without_classes_says_what_to_set(plain, parted):
    nothing = data(plain, validation_classes=0)
    assert re.search("^validation_classes: .* no validation images", refused(nothing, "val"))
    assert "of which 0 to 3 can be kept" in refused(data(plain, validation_classes=4))
    assert "test_share: 0.0 would give the test 0 of 8 classes" in refused(
        data(plain, test_share=0.0)
    )
    many = [str(number) for number in range(20_000)]
    with pytest.raises(ArgumentError, match=r"from 0\.00005 to 0\.99995 leaves"):
        class_splits.divided(many, 0.00001, "here")
    everything = data(plain, test_share=1.0, validation_classes=0)
    assert "test_share: 1 leaves no class" in refused(everything)
    (parted / "test").rename(parted / "val")
    assert "no image of 'test'" in refused(data(parted, validation_classes=0), "test")


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        (["a.png,1"], "file,label", "no column 'path'"),
        (["a.png,1"], "path,labels", "label_column: .*no column 'label'.*did you mean 'labels'"),
        ([], "path,label", "no rows"),
        (
            ["a.png,1", "b.png,2", "c.png,3"],
            "path,label",
            "2 rows with a file that is not there.*b",
        ),
        (
            ["a.png,1", "../out.png,2"],
            "path,label",
            "a row with an image outside of .*: ../out.png",
        ),
        (["a.png,1", "/out.png,2"], "path,label", "a row with an image outside of"),
        (["a.png,1", "./a.png,2"], "path,label", "named before, the first: a.png"),
        (["a.png,"], "path,label", "no label"),
        (["a.png"], "path,label", "no label"),
        (["a.png,1,no"], "path,label,split", "other than train, val or test.*'no' for a.png"),
    ],
)
def test_a_csv_file_that_cannot_be_understood_is_refused(tmp_path, rows, columns, says):
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "out.png")
    with pytest.raises(UserError, match=says):
        data(table(tmp_path / "in" / "list.csv", rows, columns)).prepare()


def test_what_is_no_text_is_no_csv_file(plain):
    assert "no CSV file in UTF-8" in refused(data(plain / "ant" / "0.png"))


def test_a_run_on_a_folder_repeats_crops_and_measures(plain, tmp_path, capsys, monkeypatch):
    (plain / "ant" / "film.mov").write_bytes(b"")
    draw(plain / "@eaDir" / "ant" / "0.png")
    settings = {
        "data.path": plain,
        "data.channels": 3,
        "data.mean": "()",
        "data.std": "()",
        "data.name": "folder",
        "data.fit": "cover",
        "data.crop": "resized",
        "data.crop_scale": "(0.5,1.0)",
        "data.resize": 16,
        "data.size": 16,
        "data.validation_classes": 2,
        "data.images_per_class": 3,
        "data.replacement": True,
        "data.repeats": 2,
        "train.batch": 12,
        "train.steps": 2,
        "model.kind": "single",
        "model.learners": 1,
        "model.norm": "none",
        "model.width": 4,
        "optimizer.warmup": 0,
        "evaluate.binary": True,
    }
    overrides = [f"{name}={value}" for name, value in settings.items()]
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam promotes its counter
        train.run(config.load(TINY, overrides), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]
    assert found["images"] == 12
    assert set(found["metrics"]["binary"]) == set(found["metrics"]["ensemble"])
    assert "embedding, binary codes" in (tmp_path / "run" / "report.html").read_text()
    said = "warning: left out: 1 .mov\nwarning: left out: folders of the system and its trash: 1 @"
    assert capsys.readouterr().out.count(said) == 1
    monkeypatch.setattr(Run, "write_evaluation", lambda run, split, say: say(split))
    evaluate.main(["--workdir", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert out.count(said) == 1 and out.endswith("eaDir\ntest\n")
