"""In-shop's annotations: read from the authors' lists, kept, and left out where they are."""

# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportCallIssue=false

from pathlib import Path

import benchmark_trees as trees
import numpy as np
import pytest

from abe_jax import data
from abe_jax.data import SourceOptions, Split
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.errors import ArgumentError, UserError

ANNO = Path("Anno")
LANDMARKS, BOXES = ANNO / "list_landmarks_inshop.txt", ANNO / "list_bbox_inshop.txt"
ITEMS = ANNO / "attributes" / "list_attr_items.txt"


def source(tmp_path: Path) -> Path:
    return trees.packed(trees.inshop(), tmp_path / "source")


def read(from_: Path, root: Path, split: str = "train") -> Split:
    benchmark = trees.inshop().benchmark
    assert builder.build(benchmark, from_, reading.folder(benchmark, str(root))) == ""
    return reading.read(benchmark, SourceOptions(root=str(root)), split)


def annotated(split: Split):
    assert split.annotations is not None
    return split.annotations


def test_landmarks_stand_where_their_garment_has_them(tmp_path):
    train, test = (read(source(tmp_path), tmp_path, name) for name in ("train", "test"))
    points = {}
    for part in (train, test):
        points |= {path: annotated(part).points[i] for i, path in enumerate(part.paths)}
    full = points["img/WOMEN/Dresses/id_00000002/02_2_front.jpg"]  # the second image of the list
    expected = [[1.5, i + 0.5, i % 3 == 0] for i in range(8)]
    np.testing.assert_array_equal(full, expected)
    lower = points["img/MEN/Denim/id_00000080/01_1_front.jpg"]  # the third: waistline and hem
    np.testing.assert_array_equal(lower[:4], 0)
    np.testing.assert_array_equal(lower[4:], [[2.5, i + 0.5, i % 3 == 0] for i in range(4)])
    upper = points["img/WOMEN/Blouses_Shirts/id_00000001/01_1_front.jpg"]  # no waistline
    np.testing.assert_array_equal(upper[4:6], 0)
    kept = upper[[0, 1, 2, 3, 6, 7]]
    np.testing.assert_array_equal(kept, [[5.5, i + 0.5, i % 3 == 0] for i in range(6)])
    assert train.point_pairs == ((0, 1), (2, 3), (4, 5), (6, 7))


def test_boxes_and_attributes_and_categories(tmp_path):
    train = read(source(tmp_path), tmp_path)
    known = annotated(train)
    assert train.paths[0] == "img/WOMEN/Dresses/id_00000002/01_1_front.jpg"
    np.testing.assert_array_equal(known.boxes[:2], [[0, 1, 4, 5], [1, 1, 5, 5]])
    assert train.attribute_names == tuple(trees.ATTRIBUTES)
    np.testing.assert_array_equal(known.attributes, [[0, 1, 0, 0]] * 2 + [[1, 0, 0, 0]] * 2)
    names = ("MEN/Denim", "WOMEN/Blouses_Shirts", "WOMEN/Dresses", "WOMEN/Tees_Tanks")
    assert train.group_names == names and train.groups is not None
    np.testing.assert_array_equal(known.categories, train.groups)
    np.testing.assert_array_equal(known.categories, [2, 2, 1, 1])


def test_without_its_lists_it_reads_as_before(tmp_path):
    from_ = trees.unpacked(trees.inshop(), tmp_path / "source")
    for name in (LANDMARKS, BOXES, ITEMS):
        (from_ / name).unlink()
    train = read(from_, tmp_path)
    assert annotated(train)[:2] == (None, None) and annotated(train).attributes is None
    assert train.attribute_names == ()
    assert train.class_names == ("id_00000001", "id_00000002") and len(train.records) == 4


def test_what_was_prepared_before_still_loads(tmp_path):
    """Its labels.npz has neither annotations nor categories."""
    read(source(tmp_path), tmp_path)
    benchmark = trees.inshop().benchmark
    file = reading.folder(benchmark, str(tmp_path)) / builder.LABELS
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    names = ("labels", "parts", "domains", "rows", "keys", "class_names", "domain_names")
    before = {name: arrays[name] for name in names}
    before |= {"domains": 0 * arrays["domains"], "domain_names": np.zeros(0, np.uint8)}
    np.savez(file, **before)
    train = reading.read(benchmark, SourceOptions(root=str(tmp_path)), "train")
    assert train.annotations is None and train.groups is None and train.attribute_names == ()
    np.testing.assert_array_equal(train.labels, [1, 1, 0, 0])


def test_images_that_no_list_has_show_nothing(tmp_path):
    from_ = trees.unpacked(trees.inshop(), tmp_path / "source")
    for name in (LANDMARKS, BOXES, ITEMS):
        content = (from_ / name).read_text().splitlines(keepends=True)
        (from_ / name).write_text("".join([*content[:2], *content[3:]]))  # the first is gone
    known = annotated(read(from_, tmp_path))
    np.testing.assert_array_equal(known.points[0], 0)
    np.testing.assert_array_equal(known.boxes[0], 0)
    assert not known.attributes[:2].any()
    assert known.points[1].any() and known.boxes[1].any() and known.attributes[2:].any()


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        (LANDMARKS, b" 2 1 ", b" 3 1 ", "has 4 landmarks of img/MEN/Denim"),
        (LANDMARKS, b"0 000 000", b"7 000 000", "line 3 of list_landmarks_inshop.txt"),
        (BOXES, b"001 004 005", b"001 004", "line 3 of list_bbox_inshop.txt"),
        (ITEMS, b"-1 1 -1 0", b"-1 1 -1", "list_attr_items.txt has rows of different lengths"),
        (ITEMS, b"-1 1 -1 0", b"-1 1 -1 x", "line 3 of list_attr_items.txt"),
    ],
)
def test_a_damaged_list_is_one_line(name, old, new, told, tmp_path):
    from_ = trees.unpacked(trees.inshop(), tmp_path / "source")
    content = (from_ / name).read_bytes()
    assert old in content
    (from_ / name).write_bytes(content.replace(old, new, 1))
    with pytest.raises(UserError, match=told) as caught:
        read(from_, tmp_path)
    assert "\n" not in str(caught.value)


def test_points_of_ones_own_take_the_place_of_landmarks(tmp_path):
    own = read(source(tmp_path), tmp_path)
    benchmark, table = trees.inshop().benchmark, tmp_path / "joints.csv"

    def with_joints(*rows: str, column: str = "joints", pairs=((0, 1),)) -> Split:
        table.write_text("\n".join(["path,joints", *rows]) + "\n")
        options = {"points_path": str(table), "points_column": column, "point_pairs": pairs}
        return reading.read(benchmark, SourceOptions(root=str(tmp_path), **options), "train")

    first, third = own.paths[0], own.paths[2]
    train = with_joints(f"{third},1 2 1;3 4 0", f"./{first},5 6 1;7 8 1")
    expected = np.zeros((4, 2, 3))
    expected[0], expected[2] = [[5, 6, 1], [7, 8, 1]], [[1, 2, 1], [3, 4, 0]]
    np.testing.assert_array_equal(annotated(train).points, expected)
    assert train.point_pairs == ((0, 1),)
    for one, other in zip(annotated(train)[1:], annotated(own)[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match=r"a row with an image that is not in the set.*: no\.jpg; "):
        with_joints(f"{first},1 2 1;3 4 0", "no.jpg,1 2 1;3 4 0")
    with pytest.raises(UserError, match=r"not 'x y v' .* in 'joints' .*: img/WOMEN.*\('x 2 1'\)"):
        with_joints(f"{first},x 2 1")
    with pytest.raises(ArgumentError, match=r"points_column: .* did you mean 'joints'"):
        with_joints(f"{first},1 2 1;3 4 0", column="joint")
    with pytest.raises(ArgumentError, match=r"point_pairs: \(0, 2\), but the images have 2"):
        with_joints(f"{first},1 2 1;3 4 0", pairs=((0, 2),))
    table.unlink()
    with pytest.raises(ArgumentError, match=r"points_path: cannot read .*No such file"):
        options = SourceOptions(root=str(tmp_path), points_path=str(table), points_column="x")
        reading.read(benchmark, options, "train")


def test_options_of_points_that_belong_together_are_asked_for_together():
    with pytest.raises(ArgumentError, match="points_path: x, but points_column does not say"):
        data.benchmark("inshop", points_path="x")
    with pytest.raises(ArgumentError, match="points_column: 'x' of inshop; set points_path to"):
        data.benchmark("inshop", points_column="x")
    with pytest.raises(ArgumentError, match="point_pairs: of points, but points_column is empty"):
        data.benchmark("inshop", point_pairs=((0, 1),))
