"""The data sets as their authors hand them out: prepared, and read by their protocols."""

import dataclasses
from pathlib import Path

import benchmark_trees as trees
import cv2
import numpy as np
import pytest

from abe_jax.data import SPLITS, SourceOptions, Split, benchmark
from abe_jax.data.sources import datasets
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.errors import UserError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A root with every set prepared from its archives (of Cars196 the first form)."""
    root = tmp_path_factory.mktemp("root")
    for name in BENCHMARKS:
        tree = trees.TREES[name]()
        source = trees.packed(tree, tmp_path_factory.mktemp(name))
        assert not builder.build(tree.benchmark, source, reading.folder(tree.benchmark, str(root)))
    return root


@pytest.fixture(autouse=True)
def small_sets(monkeypatch):
    """The sizes of the shards are a table's, so the table must be that of the small sets."""
    for name in BENCHMARKS:
        small = trees.TREES[name]().benchmark
        monkeypatch.setitem(datasets.DATASETS, name, datasets._benchmark(small))


def load(root: Path, name: str, split: str, **options) -> Split:
    return benchmark(name, root, **options).split(split)


def grey(encoded: bytes) -> int:
    found = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert found is not None
    return int(np.median(found))


def content(split: Split) -> list[tuple]:
    """All that a split says, image by image."""
    names = split.group_names
    return [
        (
            split.paths[i],
            split.class_names[split.labels[i]],
            split.records[i],
            None if split.groups is None else names[split.groups[i]],
            None if split.object_ids is None else int(split.object_ids[i]),
            None if split.gallery is None else bool(split.gallery[i]),
            None if split.cameras is None else int(split.cameras[i]),
        )
        for i in range(len(split.records))
    ]


def splits_of(benchmark: Benchmark) -> tuple[str, ...]:
    trains = any(part.split == "train" for part in benchmark.parts.values())
    trains |= benchmark.divisions > 1
    return ("train", "test") if trains else ("test",)


@pytest.mark.parametrize("name", trees.TREES)
def test_packed_unpacked_and_deeper_give_the_same_images(name, tmp_path):
    tree = trees.TREES[name]()
    sources = [
        trees.packed(tree, tmp_path / "packed"),
        trees.unpacked(tree, tmp_path / "unpacked"),
        trees.packed(tree, tmp_path / "deeper" / "some folder" / "another").parents[1],
    ]
    trees.unpacked(tree, trees.packed(tree, tmp_path / "both"))
    found = []
    for place, source in enumerate([*sources, tmp_path / "both"]):
        root = str(tmp_path / f"root{place}")
        assert builder.build(tree.benchmark, source, reading.folder(tree.benchmark, root)) == ""
        options = SourceOptions(root=root)
        splits = [reading.read(tree.benchmark, options, s) for s in splits_of(tree.benchmark)]
        read = list(map(content, splits))
        found.append((read, builder.info(reading.folder(tree.benchmark, root))))
    assert all(one == found[0] for one in found[1:])
    everything = [row for split in found[0][0] for row in split]
    assert len({row[2] for row in everything}) == len(everything)
    assert len(everything) == found[0][1]["images"] or name in ("prid", "ilids")  # some in no use
    for path, _, encoded, *_ in everything:  # a path's own bytes, which end with its name
        assert encoded.endswith(path.rpartition("/")[2].encode())


@pytest.mark.parametrize("name", ["cars196", "cub", "sop", "inshop", "market1501", "viper"])
def test_classes_of_the_three_splits_are_disjoint(name, prepared):
    splits = [load(prepared, name, s, validation_classes=1) for s in SPLITS]
    names = [split.class_names for split in splits]
    assert len(set().union(*names)) == sum(map(len, names))
    for split in splits:
        np.testing.assert_array_equal(np.unique(split.labels), np.arange(len(split.class_names)))
        assert split.labels.dtype == np.int32


@pytest.mark.parametrize(("name", "first", "most"), [("cars196", 98, 196), ("cub", 100, 200)])
def test_the_first_half_of_the_classes_trains(name, first, most, prepared):
    train, test = load(prepared, name, "train"), load(prepared, name, "test")
    for split, numbers in ((train, range(1, first + 1)), (test, range(first + 1, most + 1))):
        greys = np.array([grey(split.records[i]) for i in range(len(split.records))])
        np.testing.assert_allclose(greys, np.array(numbers)[split.labels], atol=2)
    kept = load(prepared, name, "val", validation_classes=10)
    assert kept.class_names == train.class_names[-10:]
    shorter = load(prepared, name, "train", validation_classes=10)
    assert shorter.class_names == train.class_names[:-10]


def test_cars_and_birds_have_the_names_of_their_lists(prepared):
    assert load(prepared, "cars196", "train").class_names == tuple(trees.CARS[:98])
    assert load(prepared, "cub", "test").class_names[0] == "101.Bird_101"


def test_the_two_forms_of_cars_divide_alike(tmp_path):
    tree = trees.cars196_parts()
    root = str(tmp_path / "root")
    source = trees.packed(tree, tmp_path / "source")
    builder.build(tree.benchmark, source, reading.folder(tree.benchmark, root))
    split = reading.read(tree.benchmark, SourceOptions(root=root), "train")
    assert split.class_names == tuple(trees.CARS[:98])
    np.testing.assert_array_equal(np.bincount(split.labels), 2)
    assert {path.split("/")[0] for path in split.paths} == {"cars_train", "cars_test"}
    for i in range(len(split.labels)):
        assert abs(grey(split.records[i]) - split.labels[i] - 1) <= 2


def test_products_keep_their_lists(prepared):
    train, test = load(prepared, "sop", "train"), load(prepared, "sop", "test")
    assert train.class_names == ("1", "2", "3") and test.class_names == ("4", "5")
    assert train.paths[0] == "bicycle_final/11108510_0.JPG"
    np.testing.assert_array_equal(train.labels, [0, 0, 1, 1, 2, 2])


def test_products_have_their_super_class_also_where_none_was_stored(prepared):
    train, test = load(prepared, "sop", "train"), load(prepared, "sop", "test")
    assert train.group_names == test.group_names == ("bicycle", "coffee_maker", "sofa")
    assert train.groups is not None and train.groups.dtype == np.int32
    np.testing.assert_array_equal(train.groups, [0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(test.groups, [2, 2, 2, 2])
    only = load(prepared, "sop", "train", unseen_domains=("bicycle",))
    assert only.class_names == ("3",)
    np.testing.assert_array_equal(only.groups, [1, 1])


def test_garments_are_asked_of_the_gallery_alone(prepared):
    test, train = load(prepared, "inshop", "test"), load(prepared, "inshop", "train")
    assert train.gallery is None and test.gallery is not None
    in_gallery = [test.paths[i] for i in np.flatnonzero(test.gallery)]
    assert in_gallery == [
        "img/MEN/Denim/id_00000080/02_2_front.jpg",
        "img/WOMEN/Tees_Tanks/id_00007982/01_1_front.jpg",
    ]
    assert test.class_names == ("id_00000080", "id_00007982")
    assert train.class_names == ("id_00000001", "id_00000002")


def test_imagenet_is_tested_on_new_images_of_its_classes(prepared):
    train, test = load(prepared, "imagenet", "train"), load(prepared, "imagenet", "test")
    assert train.class_names == test.class_names == tuple(trees.WNIDS)
    np.testing.assert_array_equal(test.labels, [0, 2, 3, 1, 2])  # by the kit's own numbers
    for split in (train, test):
        for i in range(len(split.labels)):
            assert abs(grey(split.records[i]) - 40 * split.labels[i]) <= 2
    assert not set(train.paths) & set(test.paths)


def test_imagenets_held_out_images_are_of_the_classes_trained_on(prepared):
    train = load(prepared, "imagenet", "train", validation_classes=1)
    held_out = load(prepared, "imagenet", "held", validation_classes=1)
    assert held_out.name == "held" and held_out.class_names == train.class_names == tuple(
        trees.WNIDS[:3]
    )
    np.testing.assert_array_equal(held_out.labels, [0, 2, 1, 2])
    assert benchmark("imagenet").has_held_out
    assert not benchmark("cub").has_held_out
    with pytest.raises(
        UserError, match=r"held_out: 0\.1, but imagenet has held-out images of its o"
    ):
        load(prepared, "imagenet", "train", held_out=0.1)
    with pytest.raises(UserError, match="held_out: 0, so no image"):
        load(prepared, "cub", "held")


def test_held_images_keep_the_numbers_of_training(prepared):
    """Also where a class has no held-out image: class 1 of three has none without its image."""
    imagenet = trees.imagenet().benchmark
    folder = reading.folder(imagenet, str(prepared))
    with np.load(folder / builder.LABELS) as stored:
        arrays = {name: stored[name] for name in stored.files}
    keep = ~((arrays["labels"] == 1) & (arrays["parts"] == 1))
    of_split = reading._in_split(imagenet, SourceOptions(), "held", arrays)
    trained = np.unique(arrays["labels"][arrays["parts"] == 0])
    stored = reading.Prepared(folder, len(keep), arrays)
    held_out = reading._split(imagenet, stored, "held", np.flatnonzero(keep & of_split), trained)
    np.testing.assert_array_equal(held_out.labels, [0, 2, 3, 2])
    assert held_out.class_names == tuple(trees.WNIDS)


def test_validation_images_in_folders_of_their_classes_need_no_kit(tmp_path):
    tree = trees.imagenet()
    root = [str(tmp_path / name) for name in ("one", "other")]
    source = trees.packed(tree, tmp_path / "source")
    builder.build(tree.benchmark, source, reading.folder(tree.benchmark, root[0]))
    options = [SourceOptions(root=r) for r in root]
    kit = reading.read(tree.benchmark, options[0], "test")
    for name in ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"):
        (source / name).unlink()
    for i, path in enumerate(kit.paths):
        trees.write(source / "val" / kit.class_names[kit.labels[i]] / path, kit.records[i])
    builder.build(tree.benchmark, source, reading.folder(tree.benchmark, root[1]))
    found = reading.read(tree.benchmark, options[1], "test")
    np.testing.assert_array_equal(found.labels, kit.labels)
    assert [found.records[i] for i in range(5)] == [kit.records[i] for i in range(5)]


def test_validation_labels_of_kaggle_do_too(tmp_path):
    tree = trees.imagenet()
    source = trees.packed(tree, tmp_path / "source")
    (source / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    boxes = ((2, 2), (1, 0), (3, 3), (5, 2), (4, 1))
    answers = [f"ILSVRC2012_val_{i:08},{trees.WNIDS[k]} 1 2 3 4 n01440764 5 6" for i, k in boxes]
    solution = trees.lines(["ImageId,PredictionString", *answers])
    trees.write(source / "LOC_val_solution.csv", solution)
    root = str(tmp_path / "root")
    builder.build(tree.benchmark, source, reading.folder(tree.benchmark, root))
    found = reading.read(tree.benchmark, SourceOptions(root=root), "test")
    np.testing.assert_array_equal(found.labels, [0, 2, 3, 1, 2])


def test_holidays_queries_come_first_in_their_groups(prepared):
    split = load(prepared, "holidays", "test")
    assert split.object_ids is not None and split.gallery is None
    np.testing.assert_array_equal(split.object_ids, [0, 0, 1, 1, 1, 2, 2, 2, 2])
    firsts = [split.paths[i] for i in np.unique(split.object_ids, return_index=True)[1]]
    assert firsts == ["100000.jpg", "100100.jpg", "149900.jpg"]
    assert split.class_names == ("1000", "1001", "1499")


def test_ukbench_groups_are_of_four(prepared):
    split = load(prepared, "ukbench", "test")
    np.testing.assert_array_equal(split.object_ids, np.repeat(np.arange(3), 4))
    assert b"small" not in [split.records[i] for i in range(len(split.records))]


def test_copies_ask_for_their_originals(prepared):
    split = load(prepared, "copydays", "test")
    assert split.gallery is not None and split.groups is not None
    assert [split.paths[i] for i in np.flatnonzero(split.gallery)] == [
        "original/200000.jpg",
        "original/200100.jpg",
    ]
    kinds = np.array(split.group_names)[split.groups]
    assert split.group_names == ("crops/10", "crops/80", "jpegqual/3", "original", "strong")
    assert (kinds == "strong").sum() == 3 and (kinds == "crops/80").sum() == 2
    np.testing.assert_array_equal(split.labels, [int(p[-7]) for p in split.paths])
    strong = load(prepared, "copydays", "test", unseen_domains=("original", "strong"))
    assert strong.gallery is not None
    assert (len(strong.labels), int(strong.gallery.sum())) == (5, 2)


@pytest.mark.parametrize("name", ["holidays", "ukbench", "copydays"])
def test_sets_without_training_images_say_so(name, prepared):
    for split in ("train", "val"):
        with pytest.raises(UserError, match=f"{name} has images for the test alone") as caught:
            load(prepared, name, split)
        assert "\n" not in str(caught.value)


def test_validation_classes_are_checked(prepared):
    with pytest.raises(
        UserError, match="validation_classes: cub has no validation images of its own: set"
    ):
        load(prepared, "cub", "val")
    with pytest.raises(UserError, match="has 100 training classes, of which 0 to 99"):
        load(prepared, "cub", "train", validation_classes=100)


def test_a_set_that_is_not_prepared_names_the_command(tmp_path):
    for name, about in BENCHMARKS.items():
        with pytest.raises(UserError) as caught:
            load(tmp_path, name, "test")
        assert f"python -m abe_jax.prepare --dataset {name} --source DIR" in str(caught.value)
        assert about.archives in str(caught.value)


# Images and classes as published; 0: not published.
PUBLISHED = {
    "cars196": {"train": (8_054, 98), "test": (8_131, 98)},
    "cub": {"train": (5_864, 100), "test": (5_924, 100)},
    "sop": {"train": (59_551, 11_318), "test": (60_502, 11_316)},
    "inshop": {"train": (25_882, 3_997), "query": (14_218, 3_985), "gallery": (12_612, 3_985)},
    "imagenet": {"train": (1_281_167, 1_000), "val": (50_000, 1_000)},
    "holidays": {"test": (1_491, 500)},
    "ukbench": {"test": (10_200, 2_550)},
    "copydays": {
        "original": (157, 157),
        "strong": (229, 0),
        "crops": (1_413, 157),
        "jpegqual": (1_413, 157),
    },
    "market1501": {"train": (12_936, 751), "query": (3_368, 750), "gallery": (15_913, 751)},
    "dukemtmc": {"train": (16_522, 702), "query": (2_228, 702), "gallery": (17_661, 1_110)},
    "cuhk02": {"train": (6_308, 1_577), "query": (478, 239), "gallery": (478, 239)},
    "cuhk03_labeled": {"train": (7_368, 767), "query": (1_400, 700), "gallery": (5_328, 700)},
    "cuhk03_detected": {"train": (7_365, 767), "query": (1_400, 700), "gallery": (5_332, 700)},
    "grid": {"probe": (250, 250), "gallery": (1_025, 251)},
    "viper": {"cam_a": (632, 632), "cam_b": (632, 632)},
    "prid": {"cam_a": (385, 385), "cam_b": (749, 749)},
    "ilids": {"persons": (476, 119)},
}


def test_the_table_has_the_published_counts():
    found = {
        name: {part: (counts.images, counts.classes) for part, counts in about.parts.items()}
        for name, about in BENCHMARKS.items()
    }
    assert found == PUBLISHED


@pytest.mark.parametrize("name", trees.TREES)
def test_a_wrong_count_says_which_part_and_both_numbers(name, tmp_path):
    tree = trees.TREES[name]()
    source = trees.packed(tree, tmp_path / "source")
    for part, about in tree.benchmark.parts.items():
        for field, what in (("images", "images"), ("classes", "classes")):
            right = getattr(about, field)
            if not right:
                continue
            wrong = {**tree.benchmark.parts, part: about._replace(**{field: right + 1})}
            changed = dataclasses.replace(tree.benchmark, parts=wrong)
            with pytest.raises(UserError) as caught:
                builder.build(changed, source, tmp_path / "root")
            assert f"{part}: expected {right + 1} {what}, found {right}" in str(caught.value)
            assert "\n" not in str(caught.value)
    assert not (tmp_path / "root" / builder.INFO).exists()
    assert builder.build(tree.benchmark, source, tmp_path / "root") == ""
