"""The copy maker, the images held out of training, and which images show one object."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from abe_jax import data
from abe_jax.data import Preprocessing, Split, held_out, split
from abe_jax.data.images import copies
from abe_jax.data.images.copies import ATTACKS, Attack, make
from abe_jax.data.images.decoding import pixels
from abe_jax.errors import UserError


def picture(height=60, width=90, channels=3, seed=0) -> np.ndarray:
    """Smooth blobs with fine grain on them: every window of it is unlike every other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (6, 8, channels)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = smooth.reshape(height, width, channels) + rng.normal(0, 8, (height, width, 1))
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)


def shown(file: bytes, channels=3) -> np.ndarray:
    return pixels(file, channels)


def distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left.astype(np.float64) - right).mean())


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_copy_is_a_function_of_picture_and_seed(attack, channels):
    image = picture(channels=channels)
    kept = image.copy()
    file = make(image, attack, 5)
    assert make(image, attack, 5) == file
    np.testing.assert_array_equal(image, kept)
    assert (make(image, attack, 6) != file) == (attack.kind in ("crop", "print"))
    found = shown(file, channels)
    assert found.dtype == np.uint8 and found.shape[2] == channels
    if attack.kind != "crop":
        assert found.shape == image.shape and 0 < distance(found, image) < 60


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_smallest_picture_has_copies(attack):
    assert shown(make(picture(1, 1), attack, 0)).shape == (1, 1, 3)


def test_the_attacks_have_names_of_their_own():
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    assert {"crop 30 %", "jpeg 5", "blur 1 %", "print"} <= set(names)


def test_a_crop_is_a_part_of_the_picture_of_its_share_and_aspect():
    image, corners = picture(), set()
    for share, seed in itertools.product((0.7, 0.3), range(6)):
        part = shown(make(image, Attack(kind="crop", amount=share), seed))
        height, width, _ = part.shape
        assert height * width / (60 * 90) == pytest.approx(share, rel=0.03)
        assert width / height == pytest.approx(1.5, rel=0.03)
        scores = cv2.matchTemplate(image, part, cv2.TM_SQDIFF)
        top, left = np.unravel_index(np.argmin(scores), scores.shape)
        np.testing.assert_array_equal(image[top : top + height, left : left + width], part)
        corners.add((int(top), int(left)))
    assert len(corners) > 8


def test_jpeg_loses_more_at_a_lower_quality():
    image = picture()
    files = [make(image, Attack(kind="jpeg", amount=q), 0) for q in (90.0, 50.0, 5.0)]
    assert all(file.startswith(b"\xff\xd8") for file in files)
    lost = [distance(shown(file), image) for file in files]
    assert 0 < lost[0] < lost[1] < lost[2]
    assert len(files[0]) > len(files[1]) > len(files[2])


def test_blur_is_a_gaussian_of_a_share_of_the_shorter_side():
    point = np.zeros((101, 201, 1), np.uint8)
    point[50, 100] = 255
    blurred = shown(make(point, Attack(kind="blur", amount=0.02), 0), 1)[..., 0] / 255
    squares = (np.arange(201) - 100.0) ** 2
    weight = np.exp(-squares / (2 * 2.02**2))  # sigma is 2.02 px
    row = weight / weight.sum()
    np.testing.assert_allclose(blurred[50], row * row.max(), atol=2 / 255)
    flat = np.full((9, 9, 3), 77, np.uint8)  # and the border is no darker
    np.testing.assert_array_equal(shown(make(flat, Attack(kind="blur", amount=0.3), 0)), flat)


def test_a_print_has_less_contrast_and_grain():
    step = np.zeros((80, 80, 3), np.uint8)
    step[:, 40:] = 255
    found = shown(make(step, Attack(kind="print"), 3)).astype(np.float64)
    dark, light = found[25:55, 5:20], found[25:55, 60:75]
    assert dark.mean() == pytest.approx(127.5 * 0.4, abs=2)
    assert light.mean() == pytest.approx(127.5 * 1.6, abs=2)
    assert dark.std() == pytest.approx(copies.PRINT_GRAIN, rel=0.1)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])  # grain is no colour


def test_a_print_is_slightly_turned_and_no_two_alike():
    """The homographies: no corner goes further than turn and shift together, and most do go."""
    corners = np.array([[(0, 0), (90, 0), (90, 60), (0, 60)]], np.float32)
    furthest = []
    for seed in range(40):
        view = copies._view(60, 90, np.random.default_rng(seed))
        moved = cv2.perspectiveTransform(corners, view) - corners
        furthest.append(np.linalg.norm(moved[0], axis=-1).max())
    radius = np.hypot(45, 30)
    most = 2 * radius * np.sin(np.deg2rad(5) / 2) + np.hypot(0.04 * 90, 0.04 * 60)
    assert max(furthest) <= most + 1e-3
    assert min(furthest) > 1.0 and max(furthest) > 0.6 * most


def split_of(pictures: list[np.ndarray]) -> Split:
    files = [cv2.imencode(".png", image)[1].tobytes() for image in pictures]
    labels = np.arange(len(files), dtype=np.int32)
    return Split(name="test", records=files, labels=labels, class_names=("a", "b", "c"))


def test_the_copies_of_a_split_are_every_attack_on_every_chosen_image():
    pictures = [picture(20 + i, 30, 3, i) for i in range(3)]
    split = split_of([image[..., ::-1] for image in pictures])  # OpenCV writes blue first
    made = copies.altered(split, np.array([2, 0]), Preprocessing())
    assert len(made.records) == len(made.labels) == 2 * len(ATTACKS)
    for i, (row, kind) in enumerate(itertools.product((2, 0), range(len(ATTACKS)))):
        assert made.records[i] == make(pictures[row], ATTACKS[kind], (row, kind))
        assert made.labels[i] == row
    assert made.records[-1] == made.records[len(made.records) - 1]
    with pytest.raises(IndexError):
        made.records[len(made.records)]


@pytest.mark.parametrize("channels", [1, 3])
def test_large_pictures_are_shrunk_first(channels):
    split = split_of([np.full((300, 1024, channels), 90, np.uint8), picture(4, 512)])
    made = copies.altered(split, np.array([0, 1]), Preprocessing(channels=channels))
    jpeg = [attack.kind for attack in ATTACKS].index("jpeg")
    assert pixels(made.records[jpeg], channels).shape == (150, 512, channels)
    assert pixels(made.records[len(ATTACKS) + jpeg], channels).shape == (4, 512, channels)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of three training classes of 10, 4 and 1 images and one for the test."""
    lines = ["path,label,split,thing"]
    sizes = {"ant": 10, "bee": 4, "cat": 1, "dog": 6}
    for label, size in sizes.items():
        (tmp_path / label).mkdir()
        for i in range(size):
            name = f"{label}/{i}.png"
            cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 10 * i, np.uint8))
            part = "test" if label == "dog" else "train"
            thing = "" if i == 5 else str(i // 2)
            lines.append(f"{label}/../{name},{label},{part},{thing}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "table.csv"


def labelled(table: Path, **options) -> data.Dataset:
    """Its data set, whose training classes are all for training."""
    return data.folder(table, validation_classes=0, **options)


def test_a_share_of_every_training_class_is_held_out(table):
    full, chosen = labelled(table), labelled(table, held_out=0.3)
    every, train, held_split = full.split("train"), chosen.split("train"), chosen.split("held")
    assert np.bincount(held_split.labels, minlength=3).tolist() == [3, 1, 0]
    assert np.bincount(train.labels).tolist() == [7, 3, 1]
    assert train.class_names == held_split.class_names == every.class_names
    assert (train.name, held_split.name) == ("train", "held")
    assert sorted(train.paths + held_split.paths) == sorted(every.paths)
    for part in (train, held_split):
        for i, path in enumerate(part.paths):
            assert part.records[i] == (table.parent / path).read_bytes()
            assert part.class_names[part.labels[i]] == path.split("/")[0]
    # The choice is by name: an image more elsewhere changes nothing, another share takes more.
    assert held_split.paths == labelled(table, held_out=0.3).split("held").paths
    more = labelled(table, held_out=0.6).split("held")
    assert set(held_split.paths) < set(more.paths)
    assert chosen.split("test").paths == full.split("test").paths


def test_one_image_of_each_class_stays_in_training(table):
    train = labelled(table, held_out=1.0).split("train")
    assert np.bincount(train.labels).tolist() == [1, 1, 1]


def test_glyphs_are_held_out_by_row(tiny_data):
    every = data.glyphs(tiny_data, tiny=True).split("train")
    chosen = data.glyphs(tiny_data, tiny=True, held_out=0.25)
    train, held_split = chosen.split("train"), chosen.split("held")
    assert len(train.labels) + len(held_split.labels) == len(every.labels)
    assert len(held_split.labels) / len(every.labels) == pytest.approx(0.25, abs=0.05)
    both = {train.records[i] for i in range(len(train.labels))}
    assert (
        held_split.records[0] not in both
        and held_split.object_ids is not None
        and held_split.groups is not None
    )


def test_nothing_held_out_is_said(table):
    with pytest.raises(UserError, match=r"held_out: 0, so no image of a training class"):
        labelled(table).split("held")
    with pytest.raises(UserError, match=r"held_out: 0.01 would hold out no image .* 0.051 holds"):
        labelled(table, held_out=0.01).split("train")
    assert len(labelled(table, held_out=0.051).split("held").labels) == 1
    every = labelled(table).split("train")
    first = np.unique(every.labels, return_index=True)[1]
    with pytest.raises(UserError, match=r"every class has one image, .* set it to 0"):
        held_out.part(split.chosen(every, first), 0.5, "train")


def test_object_ids_are_named_by_a_column_within_their_class(table):
    train = labelled(table, instance_column="thing").split("train")
    assert train.object_ids is not None
    alike = train.object_ids[:, None] == train.object_ids[None]
    names = [path.replace(".png", "").split("/") for path in train.paths]
    for i, (label, number) in enumerate(names):
        for j, (other, another) in enumerate(names):
            alone = "5" in (number, another)
            same = label == other and int(number) // 2 == int(another) // 2
            assert alike[i, j] == (i == j if alone else same)
    assert labelled(table).split("train").object_ids is None


def test_a_missing_column_of_object_ids_is_refused(table):
    with pytest.raises(
        UserError, match=r"instance_column: .* no column 'things'; did you mean 'thing'"
    ):
        labelled(table, instance_column="things").split("test")
    with pytest.raises(UserError, match=r"instance_column: .* is a folder, and only a CSV"):
        data.folder(table.parent, instance_column="thing").split("test")


def test_an_object_of_glyphs_is_a_character_in_one_family(tiny_data):
    val = data.glyphs(tiny_data, tiny=True).split("val")
    assert val.object_ids is not None and val.groups is not None
    pairs = list(zip(val.labels.tolist(), val.groups.tolist(), strict=True))
    for i, j in itertools.product(range(0, 143, 7), range(143)):
        assert (val.object_ids[i] == val.object_ids[j]) == (pairs[i] == pairs[j])
