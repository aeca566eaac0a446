"""Preparing and loading data sets by name, and what damaged or missing data gets."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from abe_jax import files
from abe_jax.data import SPLITS, Dataset, SourceOptions, Split, benchmark, named
from abe_jax.data.sources.glyphs import reading
from abe_jax.errors import UserError

PREPARE = """
import sys
from abe_jax.data import glyphs
assert "tensorflow_datasets" not in sys.modules
print(glyphs(tiny=True).prepare())
assert "tensorflow" not in sys.modules
"""


def data(root, name="glyphs_tiny", **changes) -> Dataset:
    return named(name, SourceOptions(root=str(root), **changes))


def prepared(root) -> pathlib.Path:
    folder = data(root).prepare()
    assert folder
    return folder


def opened(folder) -> Any:
    return tfds.builder_from_directory(folder)


def pixels(encoded: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return image


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    data(root).prepare()
    return root


@pytest.fixture
def copy(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_split_holds_images_labels_and_groups_in_one_order(tiny):
    for name in SPLITS:
        split = data(tiny).split(name)
        assert split.name == name and split.groups is not None
        assert len(split.records) == len(split.labels) == len(split.groups) > 100
        assert split.labels.dtype == split.groups.dtype == np.int32
        np.testing.assert_array_equal(np.unique(split.labels), np.arange(len(split.class_names)))
        assert split.group_names == ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "STIX")
        # The records carry their labels too: the sidecar must agree with each of them.
        folder = prepared(tiny)
        stored = opened(folder).as_data_source(split=name)
        for i in range(0, len(stored), 7):
            image = pixels(split.records[i])
            np.testing.assert_array_equal(image, stored[i]["image"][..., 0])
            assert split.labels[i] == stored[i]["label"]
            assert stored[i]["character"].decode() in split.class_names[split.labels[i]]
            assert split.group_names[split.groups[i]] == stored[i]["family"].decode()


def test_the_splits_have_no_class_in_common(tiny):
    names = [data(tiny).split(name).class_names for name in SPLITS]
    assert len(set().union(*names)) == sum(map(len, names)) == 62


def test_records_end_like_a_sequence(tiny):
    records = data(tiny).split("test").records
    assert records[len(records) - 1] == records[-1]
    with pytest.raises(IndexError):
        records[len(records)]


def test_the_metadata_states_the_licences(tiny):
    metadata = opened(prepared(tiny)).info.metadata
    assert metadata["families"]["STIX"]["licence"] == "LicenseRef-STIX-Font-License-2010"


def test_preparing_twice_builds_once_and_twice_apart_builds_the_same(tiny, tmp_path, capsys):
    data(tiny).prepare()
    assert "drawing" not in capsys.readouterr().err
    data(tmp_path).prepare()
    streams = capsys.readouterr()
    assert "drawing" in streams.err and not streams.out
    for name in SPLITS:
        one, other = (data(root).split(name) for root in (tiny, tmp_path))
        assert [one.records[i] for i in range(len(one.records))] == [
            other.records[i] for i in range(len(other.records))
        ]
        np.testing.assert_array_equal(one.labels, other.labels)


def test_two_processes_at_once_build_once_and_the_same_files_as_any_other(tiny, tmp_path):
    both = [started(tmp_path) for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert sum("drawing" in err for _, err in ended) == 1
    assert ended[0][0] == ended[1][0]
    assert len(data(tmp_path).split("train").records) > 100
    assert contents(tmp_path) == contents(tiny)


def contents(root: pathlib.Path) -> dict[str, str]:
    """The digest of every file below `root`, by its path."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_record_has_its_features_in_one_order():
    from abe_jax.data.sources.glyphs.builder import in_one_order

    def field(number, content):  # of a protocol buffer
        return bytes([8 * number + 2, len(content)]) + content

    def record(names):
        values = {name: field(1, field(1, name)) for name in names}
        entries = [field(1, field(1, name) + field(2, values[name])) for name in names]
        return field(1, b"".join(entries))

    by_name = record([b"a", b"b", b"c", b"d"])
    for names in ([b"d", b"b", b"a", b"c"], [b"c", b"d", b"b", b"a"], [b"a", b"b", b"c", b"d"]):
        assert in_one_order(record(names)) == by_name


def test_leftovers_are_removed_but_not_those_of_a_preparation_that_is_running(
    tmp_path, monkeypatch
):
    """The build itself takes no part: here it makes a folder."""
    folder = tmp_path / "glyphs" / "tiny"
    left = [folder / f"incomplete.{name}_1.0.0" for name in ("A", "B", "C")]
    for path in left:
        path.mkdir(parents=True)
        (path / "labels.npz").write_bytes(b"half")
    (folder / "note.txt").write_text("the user's own")
    monkeypatch.setattr(reading, "_build", lambda root, choice: (folder / "1.0.0").mkdir())
    waiting = threading.Thread(target=data(tmp_path).prepare)
    with files.lock(folder / ".lock"):  # as the process that writes them holds it
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and all(path.exists() for path in left)
    waiting.join(10)
    assert {path.name for path in folder.iterdir()} == {"1.0.0", ".lock", "note.txt"}


@pytest.mark.slow
def test_preparations_killed_anywhere_leave_nothing_to_the_next(tiny, tmp_path):
    folder, seen = tmp_path / "glyphs" / "tiny", 0
    for delay in (0.0, 0.05, 0.2, 0.4, 0.8):
        process = started(tmp_path)
        begun = time.monotonic()
        while process.poll() is None and not list(folder.glob("incomplete.*")):
            assert time.monotonic() < begun + 60
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert len(list(folder.glob("incomplete.*"))) <= 1
        seen += not (folder / "1.0.0").exists()
    assert seen >= 2  # the first ones cannot have come to the end
    process = started(tmp_path)
    assert process.communicate(timeout=120) and process.returncode == 0
    assert contents(tmp_path) == contents(tiny)


def test_a_killed_preparation_is_done_again(tmp_path):
    process = started(tmp_path)
    folder = tmp_path / "glyphs" / "tiny"
    deadline = time.monotonic() + 60
    while not list(folder.glob("incomplete.*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(folder.glob("incomplete.*")) and not (folder / "1.0.0").exists()
    assert len(data(tmp_path).split("train").records) > 100
    assert not list(folder.glob("incomplete.*"))


def started(root) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE],
        env={**os.environ, "ABE_JAX_DATA": str(root)},
        cwd=pathlib.Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", ["glyph", "Glyphs", "cars"])
def test_an_unknown_name_gets_the_nearest(name, tmp_path):
    nearest = "cars196" if name == "cars" else "glyphs"
    with pytest.raises(
        UserError, match=f"name: unknown data set '{name}'; did you mean '{nearest}'.*There are"
    ):
        data(tmp_path, name).prepare()


def test_an_unknown_split_is_refused(tiny):
    with pytest.raises(UserError, match=r"unknown split 'validation'.*train, val, test"):
        data(tiny).split("validation")


def test_splits_of_ones_own_are_a_data_set(tiny):
    glyphs = data(tiny)
    own = Dataset.of_splits(glyphs.split("val"), test=glyphs.split("test"))
    train, test = own.split("train"), own.split("test")
    assert (train.name, test.name, own.classes) == ("train", "test", len(train.class_names))
    assert test is own.split("test") and train.class_names == glyphs.split("val").class_names
    assert own.prepare() is None and not own.has_held_out
    with pytest.raises(UserError, match="made without a split 'val'"):
        own.split("val")
    with pytest.raises(UserError, match="held_out: 0, so no image"):
        own.split("held")


def test_values_that_cannot_be_are_refused_at_once():
    with pytest.raises(ValueError, match=r"held_out: 1\.5 is no share"):
        named("glyphs", SourceOptions(held_out=1.5))
    with pytest.raises(ValueError, match=r"test_share: -0\.1 is no share"):
        SourceOptions(test_share=-0.1)
    with pytest.raises(ValueError, match="name: nothing is called 'cub200'; did you mean 'cub'"):
        benchmark("cub200")


def test_glyphs_keep_their_own_validation_classes(tiny):
    with pytest.raises(
        UserError, match="but glyphs has validation classes of its own: leave it at 0"
    ):
        data(tiny, validation_classes=5).split("val")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "glyphs").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="root: cannot write prepared data"):
        data(tmp_path).prepare()


def damage(folder: pathlib.Path, how: str) -> None:
    records = next(folder.glob("glyphs-train*"))
    if how == "halved":
        os.truncate(records, records.stat().st_size // 2)
    elif how == "emptied":
        os.truncate(records, 0)
    elif how == "removed":
        records.unlink()
    elif how == "no labels":
        (folder / "labels.npz").unlink()
    elif how == "half the labels":
        os.truncate(folder / "labels.npz", 900)
    elif how == "fewer labels":
        with np.load(folder / "labels.npz") as stored:
            fewer = {k: v[:-1] if k.startswith("train") else v for k, v in stored.items()}
        np.savez(folder / "labels.npz", allow_pickle=False, **fewer)
    elif how == "no description":
        (folder / "dataset_info.json").write_text("{")


@pytest.mark.parametrize(
    "how",
    [
        "halved",
        "emptied",
        "removed",
        "no labels",
        "half the labels",
        "fewer labels",
        "no description",
    ],
)
def test_damaged_data_names_the_folder_to_delete(copy, how):
    folder = prepared(copy)
    damage(folder, how)
    with pytest.raises(UserError) as caught:
        data(copy).split("train")
    message = str(caught.value)
    assert str(folder) in message and "delete" in message and "\n" not in message


def test_a_damaged_record_is_told_when_it_is_read(copy):
    folder = prepared(copy)
    path = next(folder.glob("glyphs-train*"))
    content = bytearray(path.read_bytes())
    signature = content.index(b"\x89PNG") if b"\x89PNG" in content else 200
    content[signature : signature + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        records = data(copy).split("train").records
        for i in range(len(records)):
            records[i]


# Cars196: a set of the same form, written here.


class Cars196(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("2.1.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(names=[f"car {i}" for i in range(1, 197)]),
                    "bbox": tfds.features.BBoxFeature(),
                    "id": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, part):
        for i in range(part, 2 * 196 + part):
            # The picture's grey is its class, its width differs from its height.
            image = np.full((6 + i % 3, 9, 3), i // 2 % 196, np.uint8)
            yield (
                str(i),
                {
                    "image": cv2.imencode(".jpg", image)[1].tobytes(),
                    "label": i // 2 % 196,
                    "bbox": tfds.features.BBox(0.0, 0.0, 1.0, 1.0),
                    "id": str(i),
                },
            )


@pytest.fixture(scope="module")
def cars(tmp_path_factory):
    root = tmp_path_factory.mktemp("cars")
    Cars196(data_dir=root, file_format="array_record").download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    return root


def greys(split: Split) -> np.ndarray:
    return np.array([np.median(pixels(split.records[i])) for i in range(len(split.records))])


def test_cars_are_split_by_class_over_both_parts_of_tfds(cars):
    chosen = data(cars, "tfds:cars196", validation_classes=10)
    expected = {"train": range(0, 88), "val": range(88, 98), "test": range(98, 196)}
    images = 0
    for name, classes in expected.items():
        split = chosen.split(name)
        assert split.class_names == tuple(f"car {c + 1}" for c in classes)
        assert split.groups is None and split.labels.dtype == np.int32
        np.testing.assert_allclose(greys(split), split.labels + classes[0], atol=2)
        np.testing.assert_array_equal(np.bincount(split.labels), 4)
        images += len(split.records)
    assert images == 4 * 196
    complete = data(cars, "tfds:cars196").split("train")
    assert len(complete.class_names) == 98


def test_cars_labels_are_read_from_the_records_once(cars, tmp_path, capsys):
    shutil.copytree(cars, tmp_path / "c")
    for sidecar in (tmp_path / "c").rglob("abe_jax_labels.npy"):
        sidecar.unlink()
    chosen = data(tmp_path / "c", "tfds:cars196")
    first = chosen.split("test")
    assert "reading labels" in capsys.readouterr().err
    np.testing.assert_array_equal(chosen.split("test").labels, first.labels)
    assert "reading labels" not in capsys.readouterr().err


def test_cars_validation_classes_are_checked(cars):
    with pytest.raises(
        UserError, match="validation_classes: cars196 has no validation images of its own: set it"
    ):
        data(cars, "tfds:cars196").split("val")
    for wrong in (-1, 98):
        with pytest.raises(UserError, match=f"validation_classes: {wrong}(, but| is no count)"):
            data(cars, "tfds:cars196", validation_classes=wrong).split("train")


def test_missing_cars_say_how_to_prepare_them(tmp_path):
    with pytest.raises(UserError, match=r"tfds build cars196 --file_format=array_record"):
        data(tmp_path, "tfds:cars196").split("train")


def test_cars_in_tensorflows_format_say_what_to_do(cars, tmp_path):
    shutil.copytree(cars, tmp_path / "c")
    info = tmp_path / "c" / "cars196" / "2.1.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    for sidecar in (tmp_path / "c").rglob("abe_jax_labels.npy"):
        sidecar.unlink()
    with pytest.raises(UserError, match=r"tfrecord.*--file_format=array_record"):
        data(tmp_path / "c", "tfds:cars196").split("train")


def test_the_newest_version_is_taken_by_number(cars, tmp_path):
    for version in ("2.0.9", "2.0.10"):
        shutil.copytree(cars / "cars196" / "2.1.0", tmp_path / "cars196" / version)
    folder = data(tmp_path, "tfds:cars196").prepare()
    assert folder and folder.name == "2.0.10"
