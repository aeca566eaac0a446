"""cuhk-03.mat as its authors hand it out: the same set as the images extracted from it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import benchmark_trees as trees
import cv2
import h5py
import numpy as np
import pytest

from abe_jax.data import SourceOptions
from abe_jax.data.sources.benchmarks import archives, builder, matlab_images, reading
from abe_jax.data.sources.benchmarks.inventory import take_inventory
from abe_jax.errors import UserError

BOXES = matlab_images.BOXES
LISTS = {boxes: f"cuhk03_new_protocol_config_{boxes}.mat" for boxes in BOXES}
# Pair, person, number of the small set's images, as its lists name them.
SMALL = ((1, 1, 1), (1, 1, 6), (1, 2, 1), (2, 1, 1), (2, 1, 6), (2, 1, 7))


def picture(boxes: str, pair: int, person: int, number: int) -> np.ndarray:
    """RGB, higher than wide, of no symmetry."""
    seed = 1000 * BOXES.index(boxes) + 100 * pair + 10 * person + number
    return np.random.default_rng(seed).integers(0, 256, (7, 4, 3), np.uint8)


def written(file: Path, there: Sequence[tuple[int, int, int]] = SMALL) -> None:
    """A file as MATLAB writes cells: references to arrays, all dimensions the other way round."""
    with h5py.File(file, "w") as stored:
        for boxes in BOXES:
            pairs = np.empty((1, 5), h5py.ref_dtype)
            for pair in range(1, 6):
                persons = max([p for c, p, _ in there if c == pair], default=1)
                cells = np.empty((10, persons), h5py.ref_dtype)
                for person, number in np.ndindex(persons, 10):
                    at = (pair, person + 1, number + 1)
                    # MATLAB writes an empty array as its two sizes.
                    image = picture(boxes, *at).T if at in there else np.zeros(2, np.uint64)
                    name = f"#refs#/{boxes}{pair}_{person}_{number}"
                    cells[number, person] = stored.create_dataset(name, data=image).ref
                pairs[0, pair - 1] = stored.create_dataset(f"#refs#/{boxes}{pair}", data=cells).ref
            stored.create_dataset(boxes, data=pairs)
            lone = stored.create_dataset("#refs#/testsets" + boxes, data=np.zeros((2, 3)))
            assert lone.ndim == 2  # what else lies in the file is not looked at


def source(folder: Path, boxes: str) -> Path:
    """The lists of the new protocol alone."""
    tree = trees.TREES[f"cuhk03_{boxes}"]()
    folder.mkdir()
    listed = tree.archives[-1].files[LISTS[boxes]]
    assert isinstance(listed, bytes)
    (folder / LISTS[boxes]).write_bytes(listed)
    return folder


def prepared(folder: Path, boxes: str, root: Path) -> list[tuple]:
    """Path, class, camera and pixels of every image that training and test have."""
    made = trees.TREES[f"cuhk03_{boxes}"]().benchmark
    assert builder.build(made, folder, reading.folder(made, str(root))) == ""
    found = []
    for name in ("train", "test"):
        split = reading.read(made, SourceOptions(root=str(root)), name)
        assert split.cameras is not None
        for row, path in enumerate(split.paths):
            pixels = cv2.imdecode(np.frombuffer(split.records[row], np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            person = split.class_names[split.labels[row]]
            found.append((path, person, int(split.cameras[row]), pixels[..., ::-1].tolist()))
    return found


@pytest.mark.parametrize("boxes", BOXES)
def test_the_file_is_read_as_the_images_extracted_from_it(tmp_path, boxes):
    of_file = source(tmp_path / "file", boxes)
    written(of_file / matlab_images.FILE)
    extracted = source(tmp_path / "extracted", boxes)
    (extracted / f"images_{boxes}").mkdir()
    for pair, person, number in SMALL:
        name = f"{pair}_{person:03}_{1 if number < 6 else 2}_{number:02}.png"
        image = picture(boxes, pair, person, number)[..., ::-1]
        assert cv2.imwrite(str(extracted / f"images_{boxes}" / name), image)
    found = prepared(of_file, boxes, tmp_path / "a")
    assert found == prepared(extracted, boxes, tmp_path / "b")
    assert len(found) == 6
    assert found[1][2:] == (2, picture(boxes, 1, 1, 6).tolist())


def test_each_image_has_the_name_of_its_place_and_is_read_when_it_is_asked_for(tmp_path):
    written(tmp_path / matlab_images.FILE, [(1, 1, 5), (5, 12, 10), (5, 12, 2)])
    found = {one.path: one.read() for one in archives.members(tmp_path)}
    names = ("1_001_1_05.png", "5_012_1_02.png", "5_012_2_10.png")
    below = [f"{matlab_images.FILE}/images_{boxes}/{name}" for boxes in BOXES for name in names]
    assert list(found) == below
    assert all(content.startswith(b"\x89PNG") for content in found.values())


def test_a_file_that_is_damaged_or_another_is_one_line(tmp_path):
    file = tmp_path / matlab_images.FILE
    written(file)
    complete = file.read_bytes()
    for content in (complete[: len(complete) // 2], b"", b"MATLAB 5.0 MAT-file"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"^cuhk-03\.mat: damaged, or not fetched whole \("):
            list(archives.members(tmp_path))
    with h5py.File(file, "w") as other:
        other["labeled"] = np.zeros((2, 2))
    with pytest.raises(UserError, match=r"^cuhk-03\.mat: damaged, or not fetched whole \("):
        list(archives.members(tmp_path))


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    written(tmp_path / matlab_images.FILE)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'abe_jax\[cuhk03\]', or put the images"):
        list(archives.members(tmp_path))
    assert list(archives.members(tmp_path, lambda path: False)) == []


def test_another_set_beside_it_does_not_look_into_it(tmp_path):
    tree = trees.TREES["viper"]()
    folder = trees.packed(tree, tmp_path)
    (folder / matlab_images.FILE).write_bytes(b"not fetched whole")
    assert take_inventory(tree.benchmark, folder).wrong == ""
