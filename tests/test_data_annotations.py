"""Points of images go where their pixels go: a marked pixel is found at its point."""

# pyright: reportOptionalSubscript=false, reportOptionalMemberAccess=false

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import jax
import numpy as np
import pytest

from abe_jax.data import Augmentation, Preprocessing, Split, loader
from abe_jax.data.annotations import Annotations
from abe_jax.data.images.augmentation import placed
from abe_jax.data.loader import Batch, Schedule
from abe_jax.data.split import chosen
from abe_jax.errors import ArgumentError

SIDES = [(60, 100), (100, 60), (64, 64), (40, 30), (300, 170), (129, 201)]  # height, width
MARK = 7  # px: side of the square of white around a point


def marked(height: int, width: int, at: tuple[int, int], kind: str = ".png") -> bytes:
    """A black image with a white square whose middle is at (x, y) in px."""
    image = np.zeros((height, width, 3), np.uint8)
    x, y = at
    half = MARK // 2
    image[y - half : y + half + 1, x - half : x + half + 1] = 255
    return cv2.imencode(kind, image)[1].tobytes()


def middle_of_mark(image: np.ndarray) -> np.ndarray:
    """The mark's centre of mass in px, the first pixel from 0 to 1."""
    mass = image[..., 0].astype(float)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(mass * xs).sum(), (mass * ys).sum()]) / mass.sum()


SQUARE, UPRIGHT = (72, 56), ((92, 72), (76, 56))  # px of the frame and of the crop


@pytest.mark.parametrize("sides", [SQUARE, UPRIGHT], ids=["square", "upright"])
@pytest.mark.parametrize("crop", ["plain", "resized"])
@pytest.mark.parametrize("fit", ["pad", "cover", "stretch"])
@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_marked_pixel_is_found_at_its_point(fit: str, crop: str, kind: str, sides: Any) -> None:
    preprocessing = Preprocessing(resize=sides[0], size=sides[1], fit=fit)
    high, wide = preprocessing.shape
    augmentation = Augmentation(padding=4, crop=crop, crop_scale=(0.3, 1.0), flip=True)
    seen, mirrored = 0, set()
    for seed, (height, width) in enumerate(SIDES * 4):
        at = (width // 2 + 3, height // 2 - 5)
        encoded = marked(height, width, at, kind)
        point = np.array([[at[0] + 0.5, at[1] + 0.5, 1]])
        rng = np.random.default_rng(seed)
        made = placed(encoded, preprocessing, augmentation, rng)
        x, y, _ = made.placement.points(point)[0]
        mirrored.add(made.mirrored)
        if not (10 < x < wide - 10 and 10 < y < high - 10):  # a mark that is cut has another middle
            continue
        seen += 1
        # Resampling of JPEG at a half of its size is off by a part of a pixel.
        np.testing.assert_allclose(middle_of_mark(made.image), (x, y), atol=0.35)
    assert seen > 8 and mirrored == {True, False}


@pytest.mark.parametrize("sides", [SQUARE, UPRIGHT], ids=["square", "upright"])
@pytest.mark.parametrize("fit", ["pad", "cover", "stretch"])
def test_so_it_is_in_the_centre_crop(fit: str, sides: Any) -> None:
    preprocessing = Preprocessing(resize=sides[0], size=sides[1], fit=fit)
    for height, width in SIDES:
        at = (width // 2 + 3, height // 2 - 5)
        image, placement = preprocessing.cropped(marked(height, width, at))
        np.testing.assert_array_equal(image, preprocessing.crop(marked(height, width, at)))
        x, y, _ = placement.points(np.array([[at[0] + 0.5, at[1] + 0.5, 1]]))[0]
        np.testing.assert_allclose(middle_of_mark(image), (x, y), atol=0.35)


N, SIDE = 8, 32
LEFT, RIGHT = (8, 12), (20, 16)  # x, y


def split(records: Sequence[bytes] | None = None) -> Split:
    """Images with a point on the left, one on the right and a third that is hidden, and a box."""
    point = [[LEFT[0] + 0.5, LEFT[1] + 0.5, 1], [RIGHT[0] + 0.5, RIGHT[1] + 0.5, 1], [4, 4, 0]]
    return Split(
        name="train",
        records=records or [marked(SIDE, SIDE, LEFT)] * N,
        labels=np.arange(N, dtype=np.int32) % 2,
        class_names=("a", "b"),
        annotations=Annotations(
            points=np.tile(np.array(point, np.float32), (N, 1, 1)),
            boxes=np.tile(np.array([4, 8, 24, 30], np.float32), (N, 1)),
            categories=np.arange(N, dtype=np.int32),
            attributes=np.eye(N, 5, dtype=np.bool_),
        ),
        point_pairs=((0, 1),),
    )


PLAIN = Preprocessing(resize=SIDE, size=SIDE)


def batches(of: Split, augmentation: Augmentation, steps: int = 4) -> list[Batch]:
    schedule = Schedule(steps=steps)
    return list(loader.training(of, PLAIN, augmentation, lambda step: np.arange(N), schedule))


def known(batch: Batch) -> Annotations:
    assert batch.annotations is not None
    return batch.annotations


@pytest.mark.parametrize("swap", [True, False])
def test_a_mirrored_image_exchanges_left_and_right_if_asked_to(swap: bool) -> None:
    at = np.array([LEFT, RIGHT]) / SIDE + 0.5 / SIDE
    other = at * [-1, 1] + [1, 0]
    found = set()
    for batch in batches(split(), Augmentation(flip=True, swap_points=swap)):
        for row in range(N):
            mirrored = batch.images[row, LEFT[1], LEFT[0], 0] == 0
            found.add(bool(mirrored))
            expected = (other[::-1] if swap else other) if mirrored else at
            np.testing.assert_allclose(known(batch).points[row, :2, :2], expected, atol=1e-6)
            np.testing.assert_array_equal(known(batch).points[row, :, 2], [1, 1, 0])
            box = np.array([8, 8, 28, 30] if mirrored else [4, 8, 24, 30]) / SIDE
            np.testing.assert_allclose(known(batch).boxes[row], box, atol=1e-6)
    assert found == {True, False}


def test_columns_stay_with_their_images_and_a_point_outside_is_not_visible() -> None:
    order = np.array([3, 1, 6, 0])
    part = chosen(split(), order)
    np.testing.assert_array_equal(known_of(part).categories, order)
    small = Preprocessing(resize=SIDE, size=20)  # from 6 to 26: the point at 8.5 stays, at 4 is out
    schedule = Schedule(steps=12)
    rows = lambda step: np.array([2, 0])  # noqa: E731
    visible = set()
    for batch in loader.training(part, small, Augmentation(), rows, schedule):
        np.testing.assert_array_equal(known(batch).categories, [6, 3])
        np.testing.assert_array_equal(known(batch).attributes, np.eye(N, 5)[[6, 3]])
        assert known(batch).points.dtype == np.float32
        for x, y, seen in known(batch).points.reshape(-1, 3)[[0, 1, 3, 4]]:
            assert seen == (0 <= x < 1 and 0 <= y < 1)
            visible.add(float(seen))
    assert visible == {0.0, 1.0}


def known_of(of: Split) -> Annotations:
    assert of.annotations is not None
    return of.annotations


def test_an_unreadable_image_shows_no_point_and_padding_none() -> None:
    records = [marked(SIDE, SIDE, LEFT)] * (N - 1) + [b"no image"]
    (batch,) = loader.in_order(split(records), PLAIN, batch=N + 2)
    np.testing.assert_array_equal(batch.mask, [True] * (N - 1) + [False] * 3)
    points = known(batch).points
    assert points.shape == (N + 2, 3, 3) and not points[N - 1 :].any() and points[: N - 1].any()
    assert known(batch).attributes.shape == (N + 2, 5)


def test_batches_without_annotations_are_what_they_were() -> None:
    augmentation = Augmentation(flip=True, padding=3, jitter=0.2)
    bare = dataclasses.replace(split(), annotations=None)
    pairs = zip(batches(split(), augmentation), batches(bare, augmentation), strict=True)
    for one, other in pairs:
        assert other.annotations is None
        jax.tree.map(np.testing.assert_array_equal, one._replace(annotations=None), other)


def test_a_policy_that_turns_images_is_refused_with_points() -> None:
    with pytest.raises(ArgumentError, match="policy: 'autoaugment' turns and shears"):
        batches(split(), Augmentation(policy="autoaugment"))
