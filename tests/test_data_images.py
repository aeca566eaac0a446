"""Decoding, padding, cropping and normalising of images."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from image_options import options

from abe_jax.data.images.augmentation import Augmentation, augment
from abe_jax.data.images.decoding import PADDING_COLOUR, UnreadableImage
from abe_jax.data.images.preprocessing import Preprocessing
from abe_jax.errors import ArgumentError


def square(**changes) -> Preprocessing:
    return Preprocessing(**{"resize": 8, "size": 8, **changes})


def both(**changes) -> tuple[Preprocessing, Augmentation]:
    return options(**{"resize": 8, "size": 8, **changes})


def encoded(image, kind=".png", *parameters) -> bytes:
    return cv2.imencode(kind, image, parameters)[1].tobytes()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def test_colours_come_as_rgb_and_are_not_resampled_at_the_right_size():
    rgb = noise(8, 8, 3)
    decoded = square().decode(encoded(rgb[..., ::-1]))
    np.testing.assert_array_equal(decoded, rgb)


def test_jpeg_colours_come_as_rgb():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes blue first
    decoded = square().decode(encoded(red, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100))
    assert (decoded[..., 0] > 250).all() and (decoded[..., 1:] < 5).all()


def test_the_aspect_ratio_is_kept_and_black_fills_the_square():
    decoded = square().decode(encoded(np.full((16, 4, 3), 200, np.uint8)))
    assert decoded.shape == (8, 8, 3)
    assert (decoded[:, 3:5] == 200).all()
    assert (decoded[:, :3] == PADDING_COLOUR).all()
    assert (decoded[:, 5:] == PADDING_COLOUR).all()


def test_shrinking_averages_whole_areas():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::4] = 200  # one column of each four: interpolation would meet some, miss others
    np.testing.assert_array_equal(square().decode(encoded(stripes)), 50)


def test_enlarging_keeps_the_aspect_ratio():
    decoded = square().decode(encoded(np.full((2, 4, 3), 9, np.uint8)))
    assert (decoded[2:6] == 9).all() and not decoded[:2].any() and not decoded[6:].any()


@pytest.mark.parametrize("shape", [(16, 4), (4, 16)])
def test_cover_shows_only_the_middle_square(shape):
    picture = np.full((*shape, 3), 99, np.uint8)
    picture[shape[0] // 2 - 2 : shape[0] // 2 + 2, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 7
    np.testing.assert_array_equal(square(fit="cover").decode(encoded(picture)), 7)


def test_cover_shrinks_as_padding_does_and_keeps_the_right_size():
    wide = noise(8, 20, 3)
    decoded = square(fit="cover").decode(encoded(wide[..., ::-1]))
    np.testing.assert_array_equal(decoded, wide[:, 6:14])
    file = encoded(noise(40, 40, 3))
    fits = [square(fit=fit).decode(file) for fit in ("pad", "cover", "stretch")]
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])


def test_stretch_shows_the_whole_picture_without_padding():
    halves = np.full((4, 32, 1), 50, np.uint8)
    halves[:, 16:] = 150
    one = square(fit="stretch", channels=1)
    decoded = one.decode(encoded(halves))
    assert decoded.shape == (8, 8, 1)
    assert (decoded[:, :4] == 50).all() and (decoded[:, 4:] == 150).all()


@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_the_thinnest_picture_keeps_a_pixel(shape):
    decoded = square().decode(encoded(np.full((*shape, 3), 77, np.uint8)))
    assert (decoded == 77).sum() == 8 * 3


def test_grey_and_colour_become_each_other():
    grey = noise(8, 8)
    as_colour = square().decode(encoded(grey))
    np.testing.assert_array_equal(as_colour, np.repeat(grey[..., None], 3, axis=2))
    one = square(channels=1)
    np.testing.assert_array_equal(one.decode(encoded(grey)), grey[..., None])
    green = np.zeros((8, 8, 3), np.uint8)
    green[..., 1] = 100
    for kind in (".png", ".jpg"):
        dark = one.decode(encoded(green, kind))
        assert dark.shape == (8, 8, 1)
        np.testing.assert_allclose(dark.astype(float), 58.7, atol=2)


def test_sixteen_bits_become_eight():
    deep = np.array([[0, 257, 257 * 255, 257 * 7 + 200]], np.uint16).repeat(4, axis=0)
    one = square(resize=4, size=4, channels=1)
    np.testing.assert_array_equal(one.decode(encoded(deep))[0, :, 0], [0, 1, 255, 8])


def test_transparency_shows_the_padding_colour():
    bgra = np.full((8, 8, 4), 200, np.uint8)
    bgra[..., 3] = 255
    bgra[:4, :, 3] = 0
    bgra[4, :, 3] = 51  # a fifth
    decoded = square().decode(encoded(bgra))
    assert (decoded[:4] == PADDING_COLOUR).all()
    assert (decoded[4] == 40).all() and (decoded[5:] == 200).all()


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
def test_what_is_not_a_whole_image_is_unreadable(kind):
    complete = encoded(noise(64, 64, 3), kind)
    square().decode(complete)
    for broken in (
        complete[: len(complete) // 2],
        complete[:20],
        b"",
        b"GIF89a nothing",
        b"\xff\xd8",
    ):
        with pytest.raises(UnreadableImage):
            square().decode(broken)


def test_augment_is_a_function_of_the_generator():
    picture, chosen = noise(16, 16, 3), both(resize=16, size=9, padding=3, flip=True)
    once = [augment(picture, *chosen, np.random.default_rng(i)) for i in range(20)]
    again = [augment(picture, *chosen, np.random.default_rng(i)) for i in range(20)]
    np.testing.assert_array_equal(once, again)
    assert len({a.tobytes() for a in once}) > 15


def test_augment_reaches_every_crop_and_mirror_and_no_other():
    picture = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
    chosen = both(resize=3, size=3, padding=1, flip=True)
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    crops = [padded[y : y + 3, x : x + 3] for y in range(3) for x in range(3)]
    expected = {c.tobytes() for c in crops} | {c[:, ::-1].tobytes() for c in crops}
    rng = np.random.default_rng(0)
    assert {augment(picture, *chosen, rng).tobytes() for _ in range(600)} == expected


def test_augment_mirrors_only_where_asked_and_takes_as_many_numbers():
    picture = noise(8, 8, 3)
    still, flipped = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(20):
        np.testing.assert_array_equal(augment(picture, *both(), still), picture)
        augment(picture, *both(flip=True), flipped)
    assert still.integers(1 << 60) == flipped.integers(1 << 60)


def gradients(side):
    """A picture that says of each pixel where it lies: its row, its column, and 255 throughout."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([rows, columns, np.full_like(rows, 255)], axis=2).astype(np.uint8)


def boxes(draws, **changes):
    """Top, left, height and width of resized crops, read off their pixels."""
    chosen = both(resize=200, size=50, crop="resized", **changes)
    crops = [
        augment(gradients(200), *chosen, np.random.default_rng(i)).astype(float)
        for i in range(draws)
    ]
    assert all(crop.shape == (50, 50, 3) for crop in crops)
    assert all((crop[..., 2] == 255).all() for crop in crops)  # nothing from outside
    tops, lefts = [np.array([crop[0, 0, i] for crop in crops]) for i in (0, 1)]
    bottoms, rights = [np.array([crop[-1, -1, i] for crop in crops]) for i in (0, 1)]
    scale = 50 / 49  # from the first pixel's middle to the last one's, to the whole crop
    return tops, lefts, (bottoms - tops) * scale, (rights - lefts) * scale


def test_resized_crops_have_shares_and_aspects_of_their_ranges_evenly():
    _, _, heights, widths = boxes(1500, crop_scale=(0.1, 0.5))  # all fit: none is drawn again
    shares, aspects = heights * widths / 200**2, np.log(widths / heights)
    assert 0.09 < shares.min() < 0.12 and 0.48 < shares.max() < 0.52
    assert abs(aspects).max() < np.log(4 / 3) + 0.05
    for values, ends in ((shares, (0.1, 0.5)), (aspects, (-np.log(4 / 3), np.log(4 / 3)))):
        counts, _ = np.histogram(values, 4, ends)
        np.testing.assert_allclose(counts / 1500, 0.25, atol=0.05)


def test_resized_crops_lie_everywhere_inside():
    tops, lefts, heights, widths = boxes(600, crop_scale=(0.25, 0.25))
    for starts, sizes in ((tops, heights), (lefts, widths)):
        assert starts.min() < 5 and (starts + sizes).max() > 195
        counts, _ = np.histogram(starts / (200 - sizes), 4, (-0.02, 1.02))
        np.testing.assert_allclose(counts / 600, 0.25, atol=0.07)


def test_a_resized_crop_of_everything_is_the_whole_picture_or_nearly():
    _, _, heights, widths = boxes(50, crop_scale=(1.0, 1.0))
    np.testing.assert_allclose(heights, 200, atol=4)
    np.testing.assert_allclose(widths, 200, atol=4)


def test_resized_crops_are_mirrored_too_and_take_as_many_numbers():
    crop = {"resize": 64, "size": 16, "crop": "resized"}
    still, flipped = np.random.default_rng(1), np.random.default_rng(1)
    mirrored = 0
    for _ in range(20):
        one = augment(gradients(64), *both(**crop), still)
        other = augment(gradients(64), *both(**crop, flip=True), flipped)
        assert one.flags.c_contiguous and other.flags.c_contiguous
        mirrored += not np.array_equal(one, other)
        np.testing.assert_array_equal(np.sort(one, axis=1), np.sort(other, axis=1))
    assert 4 < mirrored < 16
    for scale in ((0.1, 0.2), (1.0, 1.0)):  # whether the first draw fits or none does
        augment(gradients(64), *both(**crop, crop_scale=scale), still)
        augment(gradients(64), *both(**crop), flipped)
        assert still.integers(1 << 60) == flipped.integers(1 << 60)


def test_a_grey_crop_keeps_its_channel():
    one = both(channels=1, crop="resized", size=5)
    assert augment(noise(8, 8, 1), *one, np.random.default_rng(0)).shape == (5, 5, 1)


def test_centre_takes_the_middle():
    picture = noise(9, 9, 3)
    middle = square(resize=9, size=5).centre(picture)
    np.testing.assert_array_equal(middle, picture[2:7, 2:7])


def test_a_crop_is_the_centre_of_the_square():
    file, chosen = encoded(noise(20, 30, 3)), square(resize=11, size=6)
    np.testing.assert_array_equal(chosen.crop(file), chosen.decode(file)[2:8, 2:8])


def test_normalise_works_per_channel_and_rounds_only_at_the_end():
    pixels = noise(2, 4, 4, 3)
    chosen = square(mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0))
    expected = (pixels - np.array([10.0, 20.0, 30.0])) / np.array([1.0, 2.0, 4.0])
    result = chosen.normalise(jnp.asarray(pixels))
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    low = chosen.normalise(jnp.asarray(pixels), jnp.bfloat16)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_array_equal(low, result.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"channels": 4}, "channels"),
        ({"mean": (0.0,)}, "mean"),
        ({"std": (1.0, 0.0, 1.0)}, "std"),
        ({"size": 9}, "size"),
        ({"size": 0}, "size"),
        ({"padding": -1}, "padding"),
        ({"fit": "covers"}, "fit: nothing is called 'covers'; did you mean 'cover'"),
        ({"crop": "resize"}, "crop: nothing is called 'resize'; did you mean 'resized'"),
        ({"crop_scale": (0.5,)}, "crop_scale"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
        ({"crop_scale": (0.6, 0.5)}, "crop_scale"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, named):
    both()
    with pytest.raises(ArgumentError, match=f"^{named}"):
        both(**changes)
