"""Points as a column of a CSV file: read, refused in one line, and placed with their images."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from abe_jax import config, data
from abe_jax.config import build
from abe_jax.data import Augmentation, Dataset, Preprocessing, SourceOptions, loader
from abe_jax.data.loader import Schedule
from abe_jax.errors import ArgumentError, UserError

SIDE = 16
CELLS = {
    "0.png": "2.5 3.5 1; 12 8 1 ;4 4 0",
    "1.png": "",
    "2.png": "0 0 0;-3 5 1;1e1 99 1",
    "3.png": "2.5 3.5 1;12 8 1;4 4 0",
}
CLASSES = {"0.png": "ant,train", "1.png": "ant,train", "2.png": "bee,val", "3.png": "cat,test"}


def write(folder: Path, cells: dict[str, str] = CELLS) -> Path:
    """Images with a white pixel at (2, 3), and the CSV file that names them."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[3, 2] = 255
    for name in cells:
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    lines = [f"{name},{CLASSES[name]},{cell}" for name, cell in cells.items()]
    path = folder / "joints.csv"
    path.write_text("\n".join(["path,label,split,joints", *lines]) + "\n")
    return path


def of(path: Path, **options) -> Dataset:
    return data.folder(path, points_column="joints", **options)


def test_a_cell_has_the_points_of_its_image(tmp_path):
    joints = of(write(tmp_path), point_pairs=((0, 2),))
    expected = {
        "train": [[[2.5, 3.5, 1], [12, 8, 1], [4, 4, 0]], np.zeros((3, 3))],
        "val": [[[0, 0, 0], [-3, 5, 1], [10, 99, 1]]],
        "test": [[[2.5, 3.5, 1], [12, 8, 1], [4, 4, 0]]],
    }
    for name, points in expected.items():
        split = joints.split(name)
        assert split.annotations.points.dtype == np.float32
        np.testing.assert_array_equal(split.annotations.points, points)
        assert split.annotations[1:] == (None, None, None)
        assert split.point_pairs == ((0, 2),)
    both = of(write(tmp_path), validate=False).split("train")
    np.testing.assert_array_equal(
        both.annotations.points, np.concatenate([expected["train"], expected["val"]])
    )
    assert data.folder(tmp_path / "joints.csv").split("train").annotations is None


def test_points_and_pairs_follow_a_mirrored_image(tmp_path):
    train = of(write(tmp_path), point_pairs=[(0, 1)]).split("train")
    seen = Preprocessing(resize=SIDE, size=SIDE)
    batches = loader.training(
        train, seen, Augmentation(flip=True), lambda _: np.zeros(8, int), Schedule(steps=1)
    )
    (batch,) = batches
    at = np.array([[2.5, 3.5], [12, 8], [4, 4]]) / SIDE
    mirrored = (at * [-1, 1] + [1, 0])[[1, 0, 2]]
    turned = batch.images[:, 3, 2, 0] == 0
    assert set(turned.tolist()) == {True, False}
    for row in range(8):
        found = batch.annotations.points[row]
        np.testing.assert_allclose(found[:, :2], mirrored if turned[row] else at, atol=1e-6)
        np.testing.assert_array_equal(found[:, 2], [1, 1, 0])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"3.png": "1 2 1"}, "a row with another number than the 3 points .* 0.png has.*3.png (1)"),
        ({"1.png": "1 2 1;1 2;1 2 1"}, "'x y v' .*parted by ';'.* in 'joints' .*: 1.png ('1 2')"),
        ({"1.png": "1 2 1;"}, "'x y v' .*: 1.png ('')"),
        ({"1.png": "1 2 1;left 2 1;1 2 1"}, "'x y v' .*: 1.png ('left 2 1')"),
        ({"1.png": "1 nan 1;1 2 1;1 2 1"}, "is no number of px .*: 1.png ('1 nan 1')"),
        ({"1.png": "1 -inf 1;1 2 1;1 2 1"}, "is no number of px .*: 1.png ('1 -inf 1')"),
        ({"1.png": "1e39 1 1;1 2 1;1 2 1"}, "is no number of px .*: 1.png ('1e39 1 1')"),
        ({"1.png": "1 2 2;1 2 1;1 2 1"}, "v is neither 1 (visible) nor 0 (not) .*('1 2 2')"),
        ({"1.png": "1 2 0.5;1 2 1;1 2 1"}, "v is neither 1 .*: 1.png ('1 2 0.5')"),
        ({"1.png": "1 2 nan;1 2 1;1 2 1"}, "v is neither 1 .*: 1.png ('1 2 nan')"),
        (dict.fromkeys(("0.png", "2.png", "3.png"), ""), "points_column: no row of .* has a point"),
    ],
)
def test_a_wrong_cell_is_one_line_that_names_its_row(changed, told, tmp_path):
    path = write(tmp_path, CELLS | changed)
    pattern = re.sub(r"[()]", lambda sign: rf"\{sign[0]}", told)
    with pytest.raises(UserError, match=pattern) as caught:
        of(path).prepare()
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (((0, 3),), r"\(0, 3\), but the images have 3 points, which are 0 to 2"),
        (((0, 1), (1, 2)), "a point is of one pair at most"),
        (((0, 0),), "a point is of one pair at most"),
        (((0, 1, 2),), "each is two numbers of points"),
        (((0, -1),), "each is two numbers of points"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pairs, told, tmp_path):
    with pytest.raises(ArgumentError, match=f"^point_pairs: .*{told}"):
        of(write(tmp_path), point_pairs=pairs).prepare()


def test_what_has_no_column_of_points_is_refused(tmp_path):
    path = write(tmp_path)
    with pytest.raises(ArgumentError, match=r"points_column: .* did you mean 'joints'"):
        data.folder(path, points_column="joint").split("train")
    with pytest.raises(ArgumentError, match=r"points_column: .* is a folder, and only a CSV"):
        data.named("folder", SourceOptions(path=str(tmp_path), points_column="x")).prepare()
    with pytest.raises(ArgumentError, match="point_pairs: of points, but points_column is empty"):
        data.folder(path, point_pairs=((0, 1),))
    with pytest.raises(ArgumentError, match="points_path: of a prepared set such as inshop"):
        data.named("folder", SourceOptions(path=str(path), points_path=str(path)))


def test_a_config_names_them(tmp_path):
    path = write(tmp_path)
    tiny = Path(__file__).parent / "tiny_config.py"
    own = ("data.name=folder", f"data.path={path}", "data.points_column=joints")
    made = config.load(tiny, [*own, "data.point_pairs=((0,1),)"])
    train = build.dataset(made.data).split("train")
    assert train.point_pairs == ((0, 1),) and train.annotations.points.shape == (2, 3, 3)
    assert config.from_mapping(config.to_mapping(made)) == made
    wrong = config.load(tiny, [*own, "data.point_pairs=((0,7),)"])
    with pytest.raises(UserError, match=r"^config\.data\.point_pairs: \(0, 7\)"):
        build.dataset(wrong.data).split("train")
