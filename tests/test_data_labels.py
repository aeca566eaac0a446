"""One rule of labels for training and indexes, and one class for one name in two forms."""

import os
import unicodedata
from pathlib import Path

import pytest

from abe_jax.data import SourceOptions, named
from abe_jax.data.sources.labels import label_of, one_form, split_folders
from abe_jax.data.sources.listing import listing
from abe_jax.errors import UserError
from abe_jax.index.image_list import list_images

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def touch(base: Path, *paths: str) -> Path:
    for path in paths:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(b"x")
    return base


def trained(base: Path) -> dict[str, str]:
    """Path -> label as training and evaluation see it."""
    return {image.path: image.label for image in listing(str(base), "label").images}


def indexed(base: Path) -> dict[str, str]:
    """Path -> label as index build, add and calibrate see it."""
    return {os.path.relpath(row.path, base): row.label for row in list_images(base).rows}


LAYOUTS = {
    "flat": {"cat/1.jpg": "cat", "dog/1.jpg": "dog"},
    "by year": {"cat/2021/1.jpg": "cat", "cat/2022/1.jpg": "cat", "dog/2022/05/1.jpg": "dog"},
    "at both depths": {"cat/1.jpg": "cat", "cat/a/b/c/1.jpg": "cat", "dog/a/1.jpg": "dog"},
    "train and test": {"train/cat/1.jpg": "cat", "test/dog/2021/1.jpg": "dog"},
    "any case": {"Train/cat/a/1.jpg": "cat", "VALID/elk/1.jpg": "elk", "Test/dog/1.jpg": "dog"},
    "query and gallery": {
        "query/cat/1.jpg": "cat",
        "gallery/cat/1.jpg": "cat",
        "gallery/cat/2021/2.jpg": "cat",
        "train/dog/1.jpg": "dog",
    },
    "only train": {"train/cat/1.jpg": "cat", "train/dog/a/1.jpg": "dog"},
    "a class called test": {"test/1.jpg": "test", "test/a/1.jpg": "test", "cat/1.jpg": "cat"},
    "a class in a class": {"cat/test/1.jpg": "cat", "cat/train/1.jpg": "cat", "dog/1.jpg": "dog"},
    "beside trash": {"train/cat/1.jpg": "cat", "test/dog/1.jpg": "dog", "#recycle/1.jpg": None},
    "hidden": {"cat/1.jpg": "cat", ".test/1.jpg": None, "train/a/1.jpg": "train"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_and_index_give_the_same_labels(tmp_path, layout):
    labels = LAYOUTS[layout]
    touch(tmp_path, *labels)
    expected = {path: label for path, label in labels.items() if label}
    assert trained(tmp_path) == expected
    assert indexed(tmp_path) == expected


def test_an_image_above_the_class_folders_has_no_label(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "test/dog/1.jpg", "0.jpg", "train/0.jpg")
    assert indexed(tmp_path) == {
        "train/cat/1.jpg": "cat",
        "test/dog/1.jpg": "dog",
        "0.jpg": "",
        "train/0.jpg": "",
    }
    assert indexed(tmp_path / "train") == {"cat/1.jpg": "cat", "0.jpg": ""}


def test_what_training_refuses_an_index_still_takes(tmp_path):
    touch(tmp_path, "train/cat/1.jpg", "test/dog/1.jpg", "extra/1.jpg")
    with pytest.raises(UserError, match="'extra'"):
        trained(tmp_path)
    assert set(indexed(tmp_path).values()) == {"cat", "dog", "extra"}


def test_the_rule_alone():
    assert split_folders(["train", "Test"]) == {"train": "train", "Test": "test"}
    assert split_folders(["train", "cat"]) == {} == split_folders([])
    assert split_folders(["train", "test", "cat"]) == {"train": "train", "test": "test"}
    assert [label_of(p, {"t"}) for p in ("x", "t/x", "t/c/x", "c/t/x", "t/c/d/x")] == [
        "",
        "",
        "c",
        "c",
        "c",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NFC, NFD),
        (NFD, NFC),
        ("\u1e69", "s\u0307\u0323"),  # two marks, in the order that NFD does not have
        ("\u212b", "\u00c5"),  # the sign of the unit, and the letter
        ("\uac00", "\u1100\u1161"),  # Hangul
    ],
)
def test_two_forms_in_one_folder_are_one_class_and_it_is_said(tmp_path, one, other):
    touch(tmp_path, f"{one}/1.jpg", f"{other}/2.jpg", "tea/1.jpg")
    for labels in (trained(tmp_path), indexed(tmp_path)):
        name = unicodedata.normalize("NFC", one)
        assert labels == {f"{one}/1.jpg": name, f"{other}/2.jpg": name, "tea/1.jpg": "tea"}
    said = [f"class '{name}' is spelled in two Unicode forms, which count as one"]
    assert list(listing(str(tmp_path), "label").notes) == said
    assert list(list_images(tmp_path).notes) == said


def test_two_forms_in_two_splits_are_a_class_in_two_splits(tmp_path):
    touch(tmp_path, f"train/{NFC}/1.jpg", f"test/{NFD}/1.jpg", "test/tea/1.jpg")
    data = named("folder", SourceOptions(path=str(tmp_path), validation_classes=0))
    with pytest.raises(UserError, match=r"in train and in test \(1, the first 'café'"):
        data.prepare()


def test_two_forms_on_both_sides_of_a_test_are_one_class(tmp_path):
    touch(tmp_path, f"query/{NFC}/1.jpg", f"gallery/{NFD}/1.jpg", "train/tea/1.jpg")
    options = SourceOptions(path=str(tmp_path), validation_classes=0)
    test = named("folder", options).split("test")
    assert test.class_names == (NFC,) and len(test.labels) == 2
    assert test.notes == ("class 'café' is spelled in two Unicode forms, which count as one",)


def test_two_forms_in_a_csv_file_are_one_class_one_domain_one_object(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    table = tmp_path / "list.csv"
    table.write_text(
        f"path,label,split,where,thing\n1.jpg,{NFD},test,{NFC},{NFC}\n"
        f"2.jpg,{NFC},test,{NFD},{NFD}\n3.jpg,tea,train,{NFD},x\n",
        encoding="utf-8",
    )
    found = listing(str(table), "label", "where", "thing")
    assert [(i.label, i.domain, i.instance) for i in found.images] == [
        (NFC, NFC, NFC),
        (NFC, NFC, NFC),
        ("tea", NFC, "x"),
    ]
    assert [note.split()[0] for note in found.notes] == ["class", "domain", "object"]
    assert [row.label for row in list_images(table).rows] == [NFC, NFC, "tea"]
    table.write_text(f"path,label,split\n1.jpg,{NFD},test\n2.jpg,{NFC},train\n", encoding="utf-8")
    with pytest.raises(UserError, match="classes both in train and in test"):
        named("folder", SourceOptions(path=str(table))).prepare()


def test_a_name_in_one_form_keeps_it(tmp_path):
    """The division of classes goes by their names, so that of a run would be another."""
    touch(tmp_path, f"{NFD}/1.jpg", f"{NFD}/2.jpg", "tea/1.jpg")
    assert set(trained(tmp_path).values()) == {NFD, "tea"} == set(indexed(tmp_path).values())
    assert list(listing(str(tmp_path), "label").notes) == []
    assert one_form([NFD, "tea", NFD]) == {}


def test_names_that_differ_otherwise_are_two(tmp_path):
    touch(tmp_path, "cafe/1.jpg", f"{NFC}/1.jpg", "Café/1.jpg", "ﬁg/1.jpg", "fig/1.jpg")
    assert len(set(trained(tmp_path).values())) == 5
