"""Decoding at reduced scale and cropping before resizing: as good, never below what is needed."""

import cv2
import numpy as np
import odd_files
import pytest
from image_options import options
from PIL import Image

from abe_jax.data import uncropped
from abe_jax.data.images import crops, decoding
from abe_jax.data.images.augmentation import Augmentation, augment, augmented
from abe_jax.data.images.preprocessing import Preprocessing


def square(**changes) -> Preprocessing:
    return Preprocessing(**{"resize": 32, "size": 32, **changes})


def both(**changes) -> tuple[Preprocessing, Augmentation]:
    return options(**{"resize": 32, "size": 32, **changes})


def jpeg(height: int, width: int, seed: int = 0, **options: object) -> bytes:
    return odd_files.saved(odd_files.picture(height, width, seed), "JPEG", quality=95, **options)


@pytest.fixture
def decoded(monkeypatch) -> list[tuple[int, int]]:
    """Height and width of every picture as OpenCV gave it."""
    shapes, original = [], decoding._imdecode

    def spy(encoded: bytes, flags: int) -> np.ndarray:
        image = original(encoded, flags)
        shapes.append(image.shape[:2])
        return image

    monkeypatch.setattr(decoding, "_imdecode", spy)
    return shapes


def in_full(encoded: bytes, chosen: Preprocessing) -> np.ndarray:
    """The square by the definition: all pixels first."""
    image, side = decoding.pixels(encoded, chosen.channels), chosen.frame[0]
    if chosen.fit == "cover":
        image = crops.middle(image, *(min(image.shape[:2]),) * 2)
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(own * scale)) for own in image.shape[:2])
    if chosen.fit == "stretch":
        height = width = side
    return crops.padded(crops.resized(image, width, height), side, side)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["pad", "cover", "stretch"])
@pytest.mark.parametrize("shape", [(63, 50), (64, 64), (65, 200), (129, 70), (513, 300), (9, 900)])
def test_a_square_is_that_of_the_full_picture_and_never_enlarged(decoded, shape, fit, channels):
    chosen = square(fit=fit, channels=channels)
    file = jpeg(*shape)
    found, used = chosen.decode(file), decoded[-1]
    needed = (max if fit == "pad" else min)(*shape) / 32
    factor = max(f for f in (1, 2, 4, 8) if f <= max(1, needed))
    assert used == tuple(-(-side // factor) for side in shape)
    if needed >= 1:
        assert (max if fit == "pad" else min)(used) >= 32
    expected = in_full(file, chosen)
    assert np.abs(found.astype(int) - expected).mean() < 3.5
    if factor == 1:
        np.testing.assert_array_equal(found, expected)


def test_only_jpeg_is_reduced(decoded):
    for file in ("PNG", "WEBP", "BMP", "TIFF"):
        encoded = odd_files.saved(odd_files.picture(256, 256), file)
        np.testing.assert_array_equal(square().decode(encoded), in_full(encoded, square()))
        assert set(decoded) == {(256, 256)}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_pictures_are_upright(decoded, orientation):
    shown = odd_files.picture(300, 140)
    file = odd_files.turned(shown, "JPEG", orientation)
    found = square().decode(file)
    assert max(decoded[-1]) == 38
    assert np.abs(found.astype(int) - in_full(file, square())).mean() < 3
    height, width, _ = decoding.pixels(file).shape
    shape = (64, 32) if height > width else (32, 64)
    assert square().full(file, *shape).shape == (*shape, 3)
    assert min(decoded[-1]) >= 32 and max(decoded[-1]) >= 64
    assert uncropped.size(file) == (height, width)


def test_photographs_differ_little_from_those_decoded_in_full():
    rng = np.random.default_rng(0)
    shown = cv2.resize(rng.integers(0, 256, (60, 80, 3), np.uint8), (960, 720))
    file = odd_files.saved(Image.fromarray(shown), "JPEG", quality=90)
    chosen = square(resize=90, size=90)
    difference = np.abs(chosen.decode(file).astype(int) - in_full(file, chosen))
    assert 0 < difference.mean() < 5 and np.quantile(difference, 0.99) < 20


Options = tuple[Preprocessing, Augmentation]


def crop(file: bytes, chosen: Options, seed: int) -> np.ndarray:
    return augmented(file, *chosen, np.random.default_rng(seed)).astype(int)


def squared(file: bytes, chosen: Options, seed: int) -> np.ndarray:
    """The crop of the picture already scaled to its square."""
    rng = np.random.default_rng(seed)
    return augment(chosen[0].decode(file), *chosen, rng).astype(int)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("fit", ["pad", "cover", "stretch"])
@pytest.mark.parametrize("shape", [(300, 300), (211, 340), (340, 211), (40, 33), (20, 30)])
def test_a_crop_shows_what_that_of_the_square_shows(shape, fit, padding):
    chosen = both(fit=fit, crop="resized", padding=padding, flip=True, crop_scale=(0.2, 1.0))
    for kind in ("JPEG", "PNG"):
        file = odd_files.saved(odd_files.picture(*shape), kind)
        for seed in range(12):
            one, other = crop(file, chosen, seed), squared(file, chosen, seed)
            assert one.shape == (32, 32, 3)
            difference = np.abs(one - other)
            assert np.median(difference) <= 6 and difference.mean() < 25  # edges of padding


@pytest.mark.parametrize("fit", ["pad", "cover", "stretch"])
@pytest.mark.parametrize("crop_of", ["plain", "resized"])
def test_where_nothing_is_scaled_nothing_changes_to_the_bit(fit, crop_of):
    file = odd_files.saved(odd_files.picture(32, 32), "PNG")
    chosen = both(fit=fit, crop=crop_of, padding=3, flip=True)
    for seed in range(20):
        np.testing.assert_array_equal(crop(file, chosen, seed), squared(file, chosen, seed))
    for fitted in (file, odd_files.saved(odd_files.picture(300, 200), "JPEG")):
        plain = both(fit=fit, size=20, padding=2, flip=True)
        np.testing.assert_array_equal(crop(fitted, plain, 1), squared(fitted, plain, 1))


def test_a_crop_has_details_that_the_square_has_lost():
    fine = np.zeros((512, 512, 3), np.uint8)
    fine[:, ::4] = fine[:, 1::4] = 255  # stripes that a square of 32 px cannot show
    file = odd_files.saved(Image.fromarray(fine), "PNG")
    chosen = both(crop="resized", crop_scale=(0.01, 0.01))
    assert crop(file, chosen, 0).std() > 80 > 10 > squared(file, chosen, 0).std()


def test_a_crop_is_decoded_with_as_many_pixels_as_it_needs(decoded):
    file = jpeg(512, 512)
    for share, factor in ((1.0, 8), (0.3, 4), (0.1, 4), (0.05, 2), (0.01, 1)):
        chosen = both(crop="resized", crop_scale=(share, share))
        for seed in range(10):
            crop(file, chosen, seed)
            side = decoded[-1][0]
            rng = np.random.default_rng(seed)
            box = crops.random_box((32, 32), (32, 32), (share, share), rng)
            have = min(box.height, box.width) * side / 32
            assert have >= 32 or side == 512
            assert have < 64 or side == 512 // 8
        assert 512 // factor in {shape[0] for shape in decoded[-10:]}


def test_numbers_are_drawn_as_from_the_square(decoded):
    chosen = both(crop="resized", flip=True, jitter=0.4, lighting=0.1)
    for shape in ((500, 400), (20, 10), (32, 32)):
        one, other = np.random.default_rng(7), np.random.default_rng(7)
        augmented(jpeg(*shape), *chosen, one)
        augment(np.zeros((32, 32, 3), np.uint8), *chosen, other)
        assert one.integers(1 << 60) == other.integers(1 << 60)


@pytest.mark.parametrize(
    ("box", "size"),
    [((-10, -10, 20, 20), 20), ((5, -4, 12, 6), 12), ((40, 40, 5, 5), 5), ((0, 0, 30, 30), 15)],
)
def test_what_lies_outside_of_the_picture_is_black(box, size):
    shown = np.full((30, 30, 3), 200, np.uint8)
    found = crops.cut(shown, crops.Box(*box), (1.0, 1.0), (size, size))
    rows, columns = (np.arange(start, start + length) for start, length in (box[::2], box[1::2]))
    inside = np.outer((rows >= 0) & (rows < 30), (columns >= 0) & (columns < 30))
    expected = cv2.resize(inside.astype(np.uint8) * 200, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(found, expected[..., None].repeat(3, axis=2))


def test_a_thin_picture_takes_no_large_square():
    chosen = both(crop="resized")
    for shape in ((1, 20_000), (20_000, 1)):
        file = odd_files.saved(odd_files.picture(*shape), "PNG")
        found = [crop(file, chosen, seed) for seed in range(20)]
        assert any(one.any() for one in found)
