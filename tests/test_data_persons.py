"""Sets of persons: cameras, divisions into training and test persons, and sources as domains."""

import shutil
from pathlib import Path

import benchmark_trees as trees
import numpy as np
import pytest

from abe_jax import data
from abe_jax.data import Split
from abe_jax.data.sources import datasets
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.divisions import DIVISIONS
from abe_jax.errors import ArgumentError, UserError

NAMES = ("market1501", "dukemtmc", "cuhk03_labeled", "grid", "viper", "prid", "ilids", "cub")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sets, prepared."""
    found = tmp_path_factory.mktemp("root")
    for name in NAMES:
        tree = trees.TREES[name]()
        source = trees.packed(tree, tmp_path_factory.mktemp(name))
        builder.build(tree.benchmark, source, reading.folder(tree.benchmark, str(found)))
    return found


@pytest.fixture(autouse=True)
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        small = trees.TREES[name]().benchmark
        monkeypatch.setitem(datasets.DATASETS, name, datasets._benchmark(small))
        monkeypatch.setitem(datasets.BENCHMARKS, name, small)


def sides(split: Split) -> tuple[list[str], list[str]]:
    """Paths of the queries and of the gallery, without their suffix."""
    assert split.gallery is not None
    names = [path.rpartition(".")[0] for path in split.paths]
    chosen = [[names[i] for i in np.flatnonzero(split.gallery == side)] for side in (False, True)]
    return chosen[0], chosen[1]


def test_market_leaves_junk_out_and_keeps_nobody_in_the_gallery(root):
    test = data.benchmark("market1501", root).split("test")
    queries, gallery = sides(test)
    assert queries == ["query/0001_c1s1_001051_00", "query/0003_c1s6_015971_00"]
    assert [name[18:25] for name in gallery] == [
        *("0000_c1", "0000_c4", "0001_c1", "0001_c2", "0003_c5")
    ]
    assert test.cameras is not None and test.class_names == ("0000", "0001", "0003")
    by_path = dict(zip(test.paths, test.cameras.tolist(), strict=True))
    assert by_path["bounding_box_test/0003_c5s1_001051_03.jpg.jpg"] == 5
    train = data.benchmark("market1501", root).split("train")
    assert train.class_names == ("0002", "0007") and train.gallery is None
    assert train.cameras is not None and train.cameras.tolist() == [1, 2, 3, 6]


def test_duke_and_cuhk03_have_their_persons_and_cameras(root):
    test = data.benchmark("dukemtmc", root).split("test")
    assert test.class_names == ("0002", "5388") and test.cameras is not None
    assert sides(test)[0] == ["query/0002_c1_f0044158"]
    assert sorted(test.cameras.tolist()) == [1, 1, 2, 8]
    train = data.benchmark("cuhk03_labeled", root).split("train")
    test = data.benchmark("cuhk03_labeled", root).split("test")
    assert train.class_names == ("1", "2") and test.class_names == ("844",)
    assert test.cameras is not None and test.cameras.tolist() == [3, 4, 4]  # of the second pair
    assert sides(test)[0] == ["labeled/2_001_1_01"]


@pytest.mark.parametrize(
    ("name", "trained", "asked", "searched"),
    [("viper", 3, 3, 3), ("prid", 2, 2, 2 + 2), ("grid", 3, 3, 3 + 3), ("ilids", 2, 3, 3)],
)
def test_each_division_has_its_persons_and_no_other_has_the_same(
    name, trained, asked, searched, root
):
    seen, asking = [], set[str]()
    for division in range(DIVISIONS):
        own = data.benchmark(name, root, division=division)
        train, test = own.split("train"), own.split("test")
        assert len(train.class_names) == trained and train.gallery is None
        assert test.gallery is not None and test.cameras is not None
        assert ((~test.gallery).sum(), test.gallery.sum()) == (asked, searched)
        assert not set(train.class_names) & set(test.class_names)
        of_queries = test.labels[~test.gallery]
        assert len(set(of_queries.tolist())) == asked  # an image of each person
        assert np.isin(of_queries, test.labels[test.gallery]).all()
        seen.append(train.class_names)
        asking |= set(sides(test)[0])
        again = data.benchmark(name, root, division=division).split("train")
        assert again.class_names == train.class_names
    assert len(set(seen)) > 3 and len(asking) >= 2 * asked - 2


def test_who_is_who_in_the_small_sets(root):
    test = data.benchmark("prid", root).split("test")
    queries, gallery = sides(test)
    assert all("cam_a" in name for name in queries) and all("cam_b" in name for name in gallery)
    alone = {name for name in test.class_names if " " in name}
    assert alone == {"cam_b 0201", "cam_b 0202"}  # another person than camera a's 201
    test = data.benchmark("grid", root, division=1).split("test")
    assert test.class_names == ("0000", "0001", "0005", "0006")  # the list trains on 2, 3, 4
    test = data.benchmark("ilids", root).split("test")
    assert test.cameras is not None and len(set(sides(test)[0]) & set(sides(test)[1])) == 0
    train = data.benchmark("ilids", root).split("train")
    sizes = {"0001": 2, "0002": 3, "0003": 4, "0118": 2, "0119": 3}
    assert np.bincount(train.labels).tolist() == [sizes[name] for name in train.class_names]


def test_a_division_that_there_is_not_is_refused(root):
    with pytest.raises(ArgumentError, match="viper has no division 10; choose from 0 to 9"):
        data.benchmark("viper", root, division=10).split("test")
    with pytest.raises(ArgumentError, match="cub has no division 1; it has one: leave it at 0"):
        data.benchmark("cub", root, division=1).split("test")


def test_partitions_that_are_not_ten_are_refused(tmp_path):
    tree = trees.grid()
    source = trees.unpacked(tree, tmp_path / "s")
    five = np.empty((1, 5), object)
    five[0, :] = [trees.structs(a=[0], b=[0], c=[np.array([[1]])])] * 5
    path = source / "underground_reid" / "features_and_partitions.mat"
    trees.write(path, trees.matrix(trainIdxAll=five))
    with pytest.raises(UserError, match="has not 10 divisions with as many persons each"):
        builder.build(tree.benchmark, source, tmp_path / "root")


# Sources that are trained on.


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three persons of a user's own, two images each."""
    lines = ["path,label,split"]
    for i, label in enumerate("xxyyzz"):
        trees.write(tmp_path / f"{i}.jpg", trees.image(f"{i}.jpg", 40 * i))
        lines.append(f"{i}.jpg,{label},{'test' if label == 'z' else 'train'}")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    return tmp_path / "own.csv"


def test_sources_train_all_their_images_each_a_domain(root, table):
    sources = ("market1501", "cuhk03_labeled", str(table))
    joined = data.benchmark("viper", root, sources=sources, validation_classes=4)
    train, val, test = (joined.split(name) for name in ("train", "val", "test"))
    assert train.group_names == sources
    assert test.paths == data.benchmark("viper", root).split("test").paths
    # Market's persons are 1, 2, 3 and 7: two of four are kept, those of its test among them.
    assert train.class_names == (
        *("market1501 0001", "market1501 0002", "cuhk03_labeled 1", "cuhk03_labeled 2"),
        *(f"{table} x", f"{table} y"),
    )
    of_market = ("market1501 0003", "market1501 0007")
    assert val.class_names == (*of_market, "cuhk03_labeled 844", f"{table} z")
    for split in (train, val):
        assert split.groups is not None and split.gallery is None
        np.testing.assert_array_equal(np.unique(split.labels), np.arange(len(split.class_names)))
        for i, path in enumerate(split.paths):
            source, name = split.group_names[split.groups[i]], split.class_names[split.labels[i]]
            assert path.startswith(f"{source}/") and name.startswith(f"{source} ")
            assert split.records[i].endswith(path.rpartition("/")[2].encode())  # its own bytes
    assert len(train.labels) + len(val.labels) == 4 + 2 + 3 + 6 + 6


def test_sources_that_cannot_be_are_refused(root, tmp_path):
    for sources, says in (
        (("market150",), "did you mean 'market1501'"),
        (("market1501", "market1501"), "'market1501' is named twice"),
        (("viper",), "'viper' is tested on"),
        (("cuhk03_labeled", "cuhk03_detected"), "'cuhk03_detected' shows what 'cuhk03_labeled'"),
        ((str(root), f"{root}/."), "shows what '.*' does; name one"),
    ):
        with pytest.raises(ArgumentError, match=says):
            data.benchmark("viper", root, sources=sources).split("train")
    with pytest.raises(ArgumentError, match="'cuhk03_labeled' is tested on"):
        data.benchmark("cuhk03_detected", root, sources=("cuhk03_labeled",)).split("train")
    with pytest.raises(ArgumentError, match="validation_classes: several sources has no valid"):
        data.benchmark("viper", root, sources=("market1501",)).split("val")
    with pytest.raises(ArgumentError, match="dukemtmc has 3 training classes, of which 0 to 2"):
        data.benchmark("viper", root, sources=("dukemtmc",), validation_classes=3).split("val")
    shutil.copytree(root / "originals" / "viper", tmp_path / "originals" / "viper")
    alone = data.benchmark("viper", tmp_path, sources=("market1501",))
    assert alone.split("test").gallery is not None  # a test needs no source again
    with pytest.raises(UserError, match="no prepared market1501"):
        alone.split("train")


# A user's own cameras.


def test_a_column_names_the_cameras(table):
    rows = table.read_text().splitlines()
    named = [f"{row},{'left' if i % 2 else 'right'}" for i, row in enumerate(rows[1:])]
    kept = [f"{rows[0]},camera", *named]
    table.write_text("\n".join(kept))
    own = data.folder(table, camera_column="camera", validation_classes=0)
    assert own.split("train").cameras is not None
    np.testing.assert_array_equal(own.split("train").cameras, [0, 1, 0, 1])
    assert data.folder(table, validation_classes=0).split("train").cameras is None
    with pytest.raises(ArgumentError, match=r"camera_column: .* did you mean 'camera'"):
        data.folder(table, camera_column="cameras", validation_classes=0).split("train")
    table.write_text("\n".join([*kept[:-1], rows[-1] + ","]))
    with pytest.raises(UserError, match=r"a row with no value in 'camera' \(camera_column\)"):
        data.folder(table, camera_column="camera", validation_classes=0).split("train")
