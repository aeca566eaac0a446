"""Any data set that TFDS prepared, by its name: which feature is what, and who trains."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from abe_jax.data import Dataset, Split
from abe_jax.data import tfds as tfds_set
from abe_jax.errors import UserError

IMAGE = tfds.features.Image()


def grey(value: int) -> bytes:
    return cv2.imencode(".png", np.full((5, 7, 3), value, np.uint8))[1].tobytes()


def prepared(
    root: Path,
    dataset: str,
    features: Mapping[str, Any],
    parts: Mapping[str, list[dict[str, Any]]],
    config: str = "",
    **info: Any,
) -> None:
    """A data set as TFDS prepares it, its parts from lists of examples."""

    class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = dataset
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            described = tfds.features.FeaturesDict(dict(features))
            return tfds.core.DatasetInfo(builder=self, features=described, **info)

        def _split_generators(self, dl_manager):
            return {part: self._generate_examples(rows) for part, rows in parts.items()}

        def _generate_examples(self, rows):
            yield from enumerate(rows)

    Made(data_dir=root, file_format="array_record").download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )


def rows(labels: list[int], key: str = "label", **more: Any) -> list[dict[str, Any]]:
    """Two images of each class, whose grey is the class number."""
    return [{"image": grey(c), key: c, **more} for c in labels for _ in range(2)]


def greys(split: Split) -> list[int]:
    images = [np.frombuffer(split.records[i], np.uint8) for i in range(len(split.labels))]
    return [int(np.median(np.asarray(cv2.imdecode(image, cv2.IMREAD_COLOR)))) for image in images]


def classes(data: Dataset) -> dict[str, list[str]]:
    """Each split's classes; each image has the grey of its class's name."""
    found = {}
    for name in ("train", "val", "test"):
        try:
            split = data.split(name)
        except UserError:
            continue
        named = [split.class_names[label] for label in split.labels]
        assert [f"c{value}" for value in greys(split)] == named
        assert split.labels.dtype == np.int32 and split.groups is None and split.gallery is None
        assert np.bincount(split.labels).min() > 0
        found[name] = list(split.class_names)
    return found


def named(count: int) -> Any:
    return tfds.features.ClassLabel(names=[f"c{i}" for i in range(count)])


def test_parts_of_the_same_classes_are_merged_and_divided_as_a_folder_is(tmp_path):
    parts = {"test": rows([0, 1, 2, 3, 4]), "train": rows([4, 3, 2, 1, 0, 5])}
    prepared(tmp_path, "flowers", {"image": IMAGE, "label": named(6)}, parts)
    data = tfds_set("tfds:flowers", tmp_path, test_share=0.5)
    order = sorted((f"c{i}" for i in range(6)), key=lambda n: hashlib.sha256(n.encode()).digest())
    assert classes(data) == {"train": sorted(order[:3]), "test": sorted(order[3:])}
    kept = tfds_set("tfds:flowers", tmp_path, validation_classes=1)
    assert classes(kept) == {
        "train": sorted(order[:2]),
        "val": order[2:3],
        "test": sorted(order[3:]),
    }
    test = data.split("test")
    both = 4 * 3 - 2 * ("c5" in order[3:])
    assert len(test.labels) == both  # of TFDS's train and of its test


def test_parts_of_other_classes_are_kept(tmp_path):
    parts = {
        "train": rows([3, 0]),
        "validation": rows([2]),
        "test": [*rows([1, 4]), *rows([0])[:0]],
    }
    prepared(tmp_path, "apart", {"image": IMAGE, "label": named(5)}, parts)
    data = tfds_set("tfds:apart", tmp_path)
    assert classes(data) == {"train": ["c0", "c3"], "val": ["c2"], "test": ["c1", "c4"]}
    with pytest.raises(
        UserError, match="validation_classes: 1, but tfds:apart has validation classes of its own"
    ):
        tfds_set("tfds:apart", tmp_path, validation_classes=1).split("train")


def test_birds_are_halved_and_their_masks_not_decoded(tmp_path):
    """A second image of a record is left as it is: this one is none at all."""
    features = {
        "image": IMAGE,
        "image/filename": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=[f"c{i}" for i in range(200)]),
        "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
    }
    more = {"image/filename": "x", "segmentation_mask": b"no image"}
    parts = {"train": rows([0, 99, 100, 199], **more), "test": rows([99, 100, 3], **more)}
    prepared(tmp_path, "caltech_birds2011", features, parts)
    data = tfds_set("tfds:caltech_birds2011", tmp_path)
    assert classes(data) == {"train": ["c0", "c3", "c99"], "test": ["c100", "c199"]}
    assert len(data.split("train").labels) == 8


def test_products_have_a_split_and_a_class_feature_of_their_own(tmp_path):
    features = {
        "class_id": tfds.features.ClassLabel(num_classes=22_634),
        "super_class_id": named(12),
        "image": IMAGE,
    }
    parts = {
        "train": rows([0, 7], "class_id", super_class_id=1),
        "test": rows([8, 255], "class_id", super_class_id=1),
    }
    prepared(tmp_path, "stanford_online_products", features, parts)
    data = tfds_set("tfds:stanford_online_products", tmp_path)
    train, test = (data.split(part) for part in ("train", "test"))
    assert (train.class_names, test.class_names) == (("0", "7"), ("8", "255"))
    assert sorted(greys(test)) == [8, 8, 255, 255]
    assert [int(test.class_names[label]) for label in test.labels] == greys(test)


def test_features_of_other_names_are_found_or_asked_for(tmp_path):
    features = {"photo": IMAGE, "breed": named(4), "kind": named(2), "size": np.float32}
    examples = [{"photo": grey(c), "breed": c, "kind": c % 2, "size": 1.0} for c in (0, 1, 2, 3)]
    prepared(tmp_path, "pets", features, {"train": examples}, config="small")
    for name in ("tfds:pets", "tfds:pets/small"):
        with pytest.raises(UserError) as raised:
            tfds_set(name, tmp_path).split("train")
        assert "\n" not in str(raised.value)
        expected = (
            "prepared with the configs small: name one" if "/" not in name else "no class num"
        )
        assert expected in str(raised.value)
    chosen = tfds_set("tfds:pets/small:1.0.0", tmp_path, label_column="breed")
    assert {len(names) for names in classes(chosen).values()} == {2}
    with pytest.raises(
        UserError, match=r"label_column: .*no class number 'bred'; did you mean 'breed'"
    ):
        tfds_set("tfds:pets/small", tmp_path, label_column="bred").prepare()

    prepared(tmp_path, "taught", features, {"train": examples}, supervised_keys=("photo", "kind"))
    assert len(tfds_set("tfds:taught", tmp_path).split("test").labels) == 2


def test_unlabelled_images_are_left_out(tmp_path):
    features = {"image": IMAGE, "label": tfds.features.Scalar(np.int64)}
    parts = {"train": rows([5, 6, 7, 8]), "test": rows([0, 0])}
    for row in parts["test"]:
        row["label"] = -1
    prepared(tmp_path, "blank", features, parts)
    data = tfds_set("tfds:blank", tmp_path)
    found = [data.split(part) for part in ("train", "test")]
    assert sorted(n for split in found for n in split.class_names) == ["5", "6", "7", "8"]
    assert [len(split.labels) for split in found] == [4, 4]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tfds:mnist", r"no prepared mnist in .*: run `tfds build mnist --file_format=array_rec"),
        ("tfds:mnist/a:3.0.1", r"run `tfds build mnist/a:3\.0\.1 --file_format=array_record"),
        ("tfds:", r"not written tfds:<name>\[/config\]\[:version\]"),
        ("tfds:../mnist", "not written tfds"),
        ("tfds:mnist:new", "not written tfds"),
    ],
)
def test_what_is_not_prepared_says_how(tmp_path, name, line):
    with pytest.raises(UserError, match=line) as raised:
        tfds_set(name, tmp_path).split("train")
    assert "\n" not in str(raised.value)


def test_a_version_is_taken_when_it_is_named(tmp_path):
    parts = {"train": rows([0, 1, 2, 3])}
    prepared(tmp_path, "plain", {"image": IMAGE, "label": named(4)}, parts)
    shutil.copytree(tmp_path / "plain" / "1.0.0", tmp_path / "plain" / "1.0.10")
    for asked, taken in (("", "1.0.10"), (":1.0.0", "1.0.0")):
        data = tfds_set(f"tfds:plain{asked}", tmp_path)
        folder = data.prepare()
        assert folder and folder.name == taken
    with pytest.raises(UserError, match=r"no prepared plain:1\.0\.1 in"):
        tfds_set("tfds:plain:1.0.1", tmp_path).prepare()


def test_a_set_without_images_or_classes_says_so(tmp_path):
    text = tfds.features.Text()
    prepared(
        tmp_path, "words", {"text": text, "label": named(2)}, {"train": [{"text": "a", "label": 0}]}
    )
    prepared(
        tmp_path,
        "views",
        {"image": IMAGE, "text": text},
        {"train": [{"image": grey(1), "text": "a"}]},
    )
    with pytest.raises(UserError, match="tfds:words has no image among its features label, text"):
        tfds_set("tfds:words", tmp_path).prepare()
    with pytest.raises(
        UserError, match="tfds:views has no class number 'label'; it has no feature"
    ):
        tfds_set("tfds:views", tmp_path).prepare()
