"""Images that are no squares: every pixel of them goes where height and width say."""

import dataclasses
import json
import math
from itertools import product

import cv2
import numpy as np
import odd_files
import pytest
from image_options import options
from PIL import Image
from processes import TINY

from abe_jax import config
from abe_jax.cli import command, complexity
from abe_jax.config import build
from abe_jax.config.memory import check_memory
from abe_jax.config.parse import from_mapping, to_mapping
from abe_jax.data import loader
from abe_jax.data.images import crops, decoding
from abe_jax.data.images.augmentation import Augmentation, augmented
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation import baselines
from abe_jax.evaluation.resolution import resized_preprocessing

TALL, WIDE = (48, 24), (20, 36)


def positions(height: int, width: int) -> np.ndarray:
    """An image whose pixels say where they are: red the row, green the column, both from 1."""
    rows, columns = np.mgrid[1 : height + 1, 1 : width + 1]
    return np.stack([rows, columns, np.full_like(rows, 255)], axis=2).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    return odd_files.saved(Image.fromarray(image), "PNG")


def in_full(image: np.ndarray, fit: str, high: int, wide: int) -> np.ndarray:
    """The frame by its definition."""
    height, width = image.shape[:2]
    if fit == "cover" and height * wide > width * high:
        kept = max(1, round(width * high / wide))
        image = image[(height - kept) // 2 :][:kept]
    elif fit == "cover":
        kept = max(1, round(height * wide / high))
        image = image[:, (width - kept) // 2 :][:, :kept]
    high_in, wide_in = high, wide
    if fit == "pad":
        scale = min(high / height, wide / width)
        high_in, wide_in = max(1, round(height * scale)), max(1, round(width * scale))
    shrinks = image.shape[0] >= high_in and image.shape[1] >= wide_in
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    frame = np.zeros((high, wide, 3), np.uint8)
    top, left = (high - high_in) // 2, (wide - wide_in) // 2
    frame[top : top + high_in, left : left + wide_in] = cv2.resize(
        np.ascontiguousarray(image), (wide_in, high_in), interpolation=how
    )
    return frame


SHAPES = [(48, 24), (96, 48), (24, 48), (30, 30), (200, 70), (9, 120), (130, 7)]


@pytest.mark.parametrize("fit", ["pad", "cover", "stretch"])
@pytest.mark.parametrize("frame", [TALL, WIDE])
def test_a_frame_is_that_of_its_definition(frame, fit):
    chosen = Preprocessing(resize=frame, size=frame, fit=fit)
    for shape in SHAPES:
        image = np.asarray(odd_files.picture(*shape))
        expected = in_full(image, fit, *frame)
        np.testing.assert_array_equal(chosen.crop(png(image)), expected)
        assert expected.shape[:2] == frame
        # JPEG of another size is decoded smaller, but never below what the frame needs.
        large = odd_files.saved(odd_files.picture(8 * shape[0], 8 * shape[1]), "JPEG", quality=95)
        full = in_full(decoding.pixels(large), fit, *frame)
        assert np.abs(chosen.crop(large).astype(int) - full).mean() < 4


@pytest.mark.parametrize(("frame", "size"), [(TALL, (40, 10)), (WIDE, (3, 36)), (30, (30, 11))])
def test_the_test_sees_the_middle(frame, size):
    chosen = Preprocessing(resize=frame, size=size)
    image = positions(*chosen.frame)
    seen = chosen.crop(png(image))
    assert seen.shape == (*size, 3)
    top, left = (chosen.frame[0] - size[0]) // 2, (chosen.frame[1] - size[1]) // 2
    assert seen[0, 0].tolist() == [top + 1, left + 1, 255]
    assert seen[-1, -1].tolist() == [top + size[0], left + size[1], 255]


def test_plain_crops_lie_everywhere_and_nowhere_else():
    chosen, augmentation = options(resize=(20, 9), size=(18, 8), padding=2, flip=True)
    file = png(positions(20, 9))
    seen = set()
    for seed in range(600):
        crop = augmented(file, chosen, augmentation, np.random.default_rng(seed)).astype(int)
        assert crop.shape == (18, 8, 3)
        inside = crop[..., 2] == 255
        row, column = np.argwhere(inside)[0]
        mirrored = crop[inside][:, 1][0] > crop[inside][:, 1][1]
        top = crop[row, column, 0] - 1 - row + 2
        turned = crop[:, ::-1] if mirrored else crop
        row, column = np.argwhere(turned[..., 2] == 255)[0]
        left = turned[row, column, 1] - 1 - column + 2
        padded = np.zeros((24, 13, 3), int)
        padded[2:-2, 2:-2] = positions(20, 9)
        np.testing.assert_array_equal(turned, padded[top : top + 18, left : left + 8])
        seen.add((int(top), int(left), bool(mirrored)))
    assert seen == set(product(range(7), range(6), (False, True)))


def test_resized_crops_are_parts_of_the_frame_by_opencv():
    chosen, augmentation = options(resize=TALL, size=(32, 12), crop="resized", padding=3)
    image = np.asarray(odd_files.picture(*TALL))
    padded = cv2.copyMakeBorder(image, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    for seed in range(40):
        found = augmented(png(image), chosen, augmentation, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        box = crops.random_box((54, 30), (32, 12), (0.08, 1.0), rng)
        part = padded[box.top : box.top + box.height, box.left : box.left + box.width]
        assert part.shape[:2] == (box.height, box.width)
        how = cv2.INTER_AREA if box.height >= 32 and box.width >= 12 else cv2.INTER_LINEAR
        expected = cv2.resize(np.ascontiguousarray(part), (12, 32), interpolation=how)
        inside = box.top >= 3 and box.left >= 3
        inside &= box.top + box.height <= 51 and box.left + box.width <= 27
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() == 0 if inside else difference.mean() < 30


@pytest.mark.parametrize(("frame", "aspect"), [((256, 128), (256, 128)), ((200, 300), (90, 60))])
def test_boxes_have_the_share_and_the_aspect_that_is_asked(frame, aspect):
    boxes = [
        crops.random_box(frame, aspect, (0.1, 0.4), np.random.default_rng(seed))
        for seed in range(2000)
    ]
    shares = np.array([box.height * box.width for box in boxes]) / math.prod(frame)
    stretched = np.array([box.width / box.height for box in boxes]) * aspect[0] / aspect[1]
    assert 0.095 < shares.min() < 0.11 and 0.385 < shares.max() < 0.41
    assert 0.72 < stretched.min() < 0.77 and 1.3 < stretched.max() < 1.38
    assert all(0 <= box.top <= frame[0] - box.height for box in boxes)
    assert all(0 <= box.left <= frame[1] - box.width for box in boxes)
    complete = crops.random_box((100, 10), (10, 10), (1.0, 1.0), np.random.default_rng(0))
    assert complete == (45, 0, 10, 10)  # none fits: the largest part of the aspect


def test_squares_draw_what_they_drew():
    """The formulas that squares had before there were rectangles."""
    for seed, side in product(range(50), (32, 33, 256)):
        rng, old = np.random.default_rng(seed), np.random.default_rng(seed)
        box = crops.random_box((side, side), (32, 32), (0.08, 1.0), rng)
        shares, aspects = (
            old.uniform(0.08, 1.0, 10),
            np.exp(old.uniform(-math.log(4 / 3), math.log(4 / 3), 10)),
        )
        position = old.random(2)
        widths = np.rint(side * np.sqrt(shares * aspects)).astype(int)
        heights = np.rint(side * np.sqrt(shares / aspects)).astype(int)
        first = np.flatnonzero((widths <= side) & (heights <= side))[0]
        high, wide = int(heights[first]), int(widths[first])
        top, left = (position * (side + 1 - np.array([high, wide]))).astype(int).tolist()
        assert box == (top, left, high, wide)
        chosen = Preprocessing(resize=side, size=20)
        crop = augmented(png(positions(side, side) % 251), chosen, Augmentation(padding=2), rng)
        top, left = old.integers(0, side + 4 - 20, size=2, endpoint=True)
        padded = np.pad(positions(side, side) % 251, ((2, 2), (2, 2), (0, 0)))
        np.testing.assert_array_equal(crop, padded[top : top + 20, left : left + 20])
        assert rng.random() != old.random()  # the mirror's number
        old.random()


@pytest.mark.parametrize(("fit", "times"), [("cover", 1.0), ("stretch", 1.0), ("pad", 2.0)])
def test_an_image_is_as_many_times_larger_as_its_sides_are(fit, times):
    wide = Preprocessing(resize=(32, 64), size=(32, 64), fit=fit)
    assert wide.excess(64, 64) == times
    high = Preprocessing(resize=(64, 32), size=(64, 32), fit=fit)
    assert (high.excess(128, 32), high.excess(64, 64)) == (times, times)


def test_batches_have_the_shape(tiny_data):
    chosen = config.load(
        TINY, [f"data.root={tiny_data}", "data.resize=(24, 40)", "data.size=16,32"]
    )
    split = build.dataset(chosen.data).split("val")
    rows = np.arange(3)
    images = loader.images_at(split, build.preprocessing(chosen.data), rows)
    assert images.shape == (3, 16, 32, 1)


def test_the_baseline_keeps_the_aspect():
    image = np.asarray(odd_files.picture(256, 128))
    found = baselines.small(image)
    assert found.shape == (45, 23, 3)
    expected = cv2.resize(image, (23, 45), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(found, expected)
    square = np.asarray(odd_files.picture(224, 224))
    expected = cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(baselines.small(square), expected)
    small = image[:40, :20]
    np.testing.assert_array_equal(baselines.small(small), small)


def test_a_config_says_one_number_or_two_and_a_square_has_one_form():
    made = config.load(TINY, ["data.resize=(32, 48)", "data.size=[32, 48]"])
    assert (made.data.resize, made.data.size) == ((32, 48), (32, 48))
    assert to_mapping(made)["data"]["size"] == [32, 48]
    assert from_mapping(json.loads(json.dumps(to_mapping(made)))) == made
    square = config.load(TINY, ["data.size=(32, 32)"])
    assert square == config.load(TINY) and to_mapping(square)["data"]["size"] == 32
    assert Preprocessing(resize=(9, 9), size=(9, 9)) == Preprocessing(resize=9, size=9)
    assert build.preprocessing(made.data).shape == (32, 48)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "data.size=(32,)",
            r"^config.data.size: \[32\]; one number of pixels .* \(height, width\)",
        ),
        ("data.size=(32, 16, 3)", r"^config.data.size: \[32, 16, 3\]; one number"),
        ("data.size=(32, 0)", r"^config.data.size\[1\]: 0 is too small; at least 1"),
        ("data.size=(32, 'x')", r"^config.data.size\[1\]: expected int, got 'x'"),
        ("data.size=(33, 16)", r"^config.data.size: \(33, 16\), but .*resize=32 px has 1 to 32 px"),
        ("data.size=2.5", "^config.data.size: expected int, got 2.5"),
    ],
)
def test_other_sizes_are_one_line(override, said):
    with pytest.raises(UserError, match=said) as caught:
        build.preprocessing(config.load(TINY, [override]).data)
    assert "\n" not in str(caught.value)


def test_a_crop_fits_into_the_frame_both_ways():
    Preprocessing(resize=(40, 20), size=(40, 20))
    for size in ((41, 20), (40, 21), 21):
        with pytest.raises(ArgumentError, match="1 to 40 px of height and 20 of width"):
            Preprocessing(resize=(40, 20), size=size)


def test_another_size_keeps_the_aspect_or_has_its_own():
    own = Preprocessing(resize=(80, 40), size=(64, 32), fit="cover", std=(2.0,) * 3)
    for size, shape, frame in (
        (128, (128, 64), (160, 80)),
        (33, (33, 16), (41, 21)),
        ((16, 96), (16, 96), (20, 120)),
    ):
        changed = resized_preprocessing(own, size)
        assert (changed.shape, changed.frame) == (shape, frame)
        assert changed == dataclasses.replace(own, size=shape, resize=frame)
    square = Preprocessing(resize=256, size=224)
    assert resized_preprocessing(square, 448) == Preprocessing(resize=512, size=448)


def test_memory_is_that_of_the_rectangle(monkeypatch):
    monkeypatch.setattr("abe_jax.config.memory.available", lambda: 32 * 16 * 48 * 4)
    check_memory(config.load(TINY, ["data.size=(16, 48)", "data.resize=48", "evaluate.batch=32"]))
    with pytest.raises(UserError, match=r"32 images of 17 x 48 px are .*; at most 30"):
        check_memory(
            config.load(TINY, ["data.size=(17, 48)", "data.resize=48", "evaluate.batch=32"])
        )


def test_complexity_is_that_of_the_rectangle(capsys):
    counted = {}
    for size in ("(32, 16)", "(16, 32)", "16", "32"):
        complexity.main(["--config", str(TINY), f"--config.data.size={size}", "--json"])
        counted[size] = json.loads(capsys.readouterr().out)["total"]
    assert len({total["parameters"] for total in counted.values()}) == 1
    macs = {size: total["multiply_adds"] for size, total in counted.items()}
    assert macs["(32, 16)"] == macs["(16, 32)"]
    # Convolutions go with the area, which is half as much; only the last layer does not.
    head = 2 * macs["(32, 16)"] - macs["32"]
    assert head > 0 and macs["(32, 16)"] - head == 2 * (macs["16"] - head)
    complexity.main(["--config", str(TINY), "--config.data.size=(32, 16)"])
    assert ", 32 x 16 x 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "size"), [("448", 448), ("256x128", (256, 128)), ("256,128", (256, 128)), ("9x9", 9)]
)
def test_the_option_size(text, size):
    assert command.size(text) == size


@pytest.mark.parametrize("text", ["", "x", "256x", "1x2x3", "-4", "2.5"])
def test_another_option_is_refused(text):
    made = command.Parser("evaluate", None, example="")
    made.add_argument("--size", type=command.size)
    with pytest.raises(UserError, match="is not PX or HEIGHTxWIDTH"):
        made.parse([f"--size={text}"])
