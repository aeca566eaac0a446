"""AutoAugment: its table, every operation against Pillow's, and what is drawn."""

import cv2
import numpy as np
import pytest
from image_options import options
from PIL import Image, ImageEnhance, ImageOps

from abe_jax.data.images import autoaugment
from abe_jax.data.images.augmentation import augment, check

# The paper's table once more, in another hand: operation, probability in tenths, magnitude.
TABLE = """
P48 R69 | S65 A65 | E88 E63 | P67 P66 | E47 S24 | E44 R88 | S63 E67 | P85 E02 | R23 S68 | E68 P46
R88 C40 | R49 E62 | e07 E88 | I64 E08 | C64 K08 | R88 C02 | C88 S87 | H47 I68 | X65 E09 | C40 E63
E47 S24 | S65 A65 | I64 E08 | C64 K08 | E88 E63
"""
LETTERS = {
    "P": "posterise",
    "R": "rotate",
    "S": "solarise",
    "A": "auto_contrast",
    "E": "equalise",
    "e": "equalise",  # of probability 0; elsewhere the digit 0 stands for probability 1
    "C": "saturation",
    "I": "invert",
    "K": "contrast",
    "H": "sharpness",
    "X": "shear_x",
}
GREY = (128, 128, 128)


def smooth(height=60, width=80, channels=3):
    small = np.random.default_rng(0).integers(20, 230, (9, 9, channels)).astype(np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return large.reshape(height, width, channels)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape, np.uint8, endpoint=True)


def flat(channels=3):
    return np.full((40, 40, channels), 77, np.uint8)


def two_values():
    picture = np.full((32, 32, 3), 30, np.uint8)
    picture[:, 20:] = 33
    return picture


def red():
    return (smooth() * np.array([1, 0.3, 0.1])).astype(np.uint8)


def half_white():
    picture = smooth()
    picture[::2] = 255
    return picture


PICTURES = {
    "smooth": smooth(),
    "noise": noise(31, 45, 3),
    "flat": flat(),
    "two values": two_values(),
    "red": red(),
    "half white": half_white(),
}
GREYS = {"smooth": smooth(channels=1), "noise": noise(31, 45, 1), "flat": flat(1)}
EVERY_PICTURE = pytest.mark.parametrize(
    "picture",
    [*PICTURES.values(), *GREYS.values()],
    ids=[*PICTURES, *(f"grey {name}" for name in GREYS)],
)


def read(part):
    letter, tenths, magnitude = part[0], int(part[1]), int(part[2])
    return LETTERS[letter], (tenths or 10 * (letter != "e")) / 10, magnitude


def test_the_policy_is_the_papers_table():
    rows = [row.split() for line in TABLE.strip().splitlines() for row in line.split(" | ")]
    assert tuple((read(one), read(other)) for one, other in rows) == autoaugment.IMAGENET
    assert len(autoaugment.IMAGENET) == 25
    used = {name for row in autoaugment.IMAGENET for name, _, _ in row}
    assert used == set(autoaugment.OPERATIONS)


def test_a_larger_magnitude_is_stronger_and_the_ends_are_the_papers():
    ends = {
        name: (operation.strength(0), operation.strength(9), operation.signed)
        for name, operation in autoaugment.OPERATIONS.items()
    }
    assert ends == {
        "shear_x": (0, 0.3, True),
        "rotate": (0, 30, True),
        "auto_contrast": (0, 0, False),
        "invert": (0, 0, False),
        "equalise": (0, 0, False),
        "solarise": (256, 0, False),
        "posterise": (8, 4, False),
        "contrast": (0, 0.9, True),
        "saturation": (0, 0.9, True),
        "sharpness": (0, 0.9, True),
    }
    assert autoaugment.OPERATIONS["rotate"].strength(3) == 10
    untouched = PICTURES["smooth"]
    for name in ("shear_x", "rotate", "solarise", "posterise", "saturation", "sharpness"):
        operation = autoaugment.OPERATIONS[name]
        np.testing.assert_array_equal(operation.apply(untouched, operation.strength(0)), untouched)


def pillow(name, picture, strength):
    """What Pillow makes of a picture."""
    image = Image.fromarray(picture.squeeze())
    grey = GREY if picture.shape[2] == 3 else GREY[0]
    shear = (1, strength, 0, 0, 1, 0)
    bilinear = Image.Resampling.BILINEAR
    made = {
        "shear_x": lambda: image.transform(
            image.size, Image.Transform.AFFINE, shear, bilinear, fillcolor=grey
        ),
        "rotate": lambda: image.rotate(strength, bilinear, fillcolor=grey),
        "auto_contrast": lambda: ImageOps.autocontrast(image),
        "invert": lambda: ImageOps.invert(image),
        "equalise": lambda: ImageOps.equalize(image),
        "solarise": lambda: ImageOps.solarize(image, strength),
        "posterise": lambda: ImageOps.posterize(image, round(strength)),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(1 + strength),
        "saturation": lambda: ImageEnhance.Color(image).enhance(1 + strength),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(1 + strength),
    }[name]()
    return np.asarray(made).reshape(picture.shape).astype(int)


def strengths(name):
    operation = autoaugment.OPERATIONS[name]
    all_ten = [operation.strength(magnitude) for magnitude in range(10)]
    return all_ten + [-strength for strength in all_ten] if operation.signed else all_ten


@pytest.mark.parametrize("name", ["invert", "equalise", "solarise", "posterise"])
@EVERY_PICTURE
def test_operations_on_whole_numbers_are_pillows(name, picture):
    for strength in strengths(name):
        result = autoaugment.OPERATIONS[name].apply(picture, strength)
        np.testing.assert_array_equal(result, pillow(name, picture, strength))


@pytest.mark.parametrize("name", ["auto_contrast", "contrast", "saturation", "sharpness"])
@EVERY_PICTURE
def test_blends_are_pillows_up_to_its_rounding(name, picture):
    """Pillow rounds down where these round to the nearest, and rounds greys on the way."""
    for strength in strengths(name):
        result = autoaugment.OPERATIONS[name].apply(picture, strength)
        difference = result - pillow(name, picture, strength)
        assert abs(difference).max() <= 2 and abs(difference.mean()) <= 1


def inside(name, picture, strength):
    """Pixels well inside the picture or the filling, since Pillow's border has no gradation."""
    white = np.full((*picture.shape[:2], 1), 255, np.uint8)
    shown = (pillow(name, white, strength) == 255).squeeze().astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    within = cv2.erode(shown, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return (within == 1) | (cv2.dilate(shown, kernel) == 0)


@pytest.mark.parametrize("name", ["rotate", "shear_x"])
@pytest.mark.parametrize("picture", [PICTURES["smooth"], GREYS["smooth"]])
def test_warps_are_pillows_but_for_the_line_where_picture_and_filling_meet(name, picture):
    for strength in strengths(name):
        result = autoaugment.OPERATIONS[name].apply(picture, strength)
        away = inside(name, picture, strength)
        assert away.mean() > 0.75
        difference = abs(result - pillow(name, picture, strength))[away]
        assert difference.max() <= 3 and difference.mean() <= 0.6
    emptied = autoaugment.OPERATIONS[name].apply(picture, strengths(name)[9])
    assert (emptied == autoaugment.CORNER_LEVEL).all(2).mean() > 0.05


def test_a_posterised_picture_has_so_many_values():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    posterise = autoaugment.OPERATIONS["posterise"]
    counts = [
        len(np.unique(posterise.apply(every, posterise.strength(magnitude))))
        for magnitude in range(10)
    ]
    assert counts == [256, 256, 128, 128, 64, 64, 32, 32, 16, 16]


def test_the_policy_is_a_function_of_the_generator_and_draws_five_numbers():
    picture = smooth()
    for seed in range(40):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        result = autoaugment.augment(picture, autoaugment.IMAGENET, one)
        again = autoaugment.augment(picture, autoaugment.IMAGENET, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, again)
        other.random(5)
        assert one.bit_generator.state == other.bit_generator.state


def test_parts_are_done_as_often_as_their_probabilities_say_in_both_directions():
    policy = (
        (("saturation", 0.6, 9), ("posterise", 0.2, 9)),
        (("invert", 1.0, 4), ("rotate", 0.0, 9)),
    )
    picture = noise(12, 12, 3) // 2 + 64
    rng = np.random.default_rng(0)
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None].astype(int)
    seen = {"inverted": 0, "dull": 0, "vivid": 0, "posterised": 0}
    for _ in range(2000):
        result = autoaugment.augment(picture, policy, rng)
        if (result == 255 - picture).all():
            seen["inverted"] += 1
            continue
        spread = abs(result - grey).mean() / abs(picture - grey).mean()
        seen["dull"] += spread < 0.5
        seen["vivid"] += spread > 1.5
        seen["posterised"] += not (result % 16).any()
    shares = {name: count / 2000 for name, count in seen.items()}
    expected = {"inverted": 0.5, "dull": 0.15, "vivid": 0.15, "posterised": 0.1}
    assert shares == pytest.approx(expected, abs=0.04)


def test_every_sub_policy_is_drawn_as_often():
    marks = tuple((("solarise", 1.0, k % 10), ("invert", float(k > 9), 0)) for k in range(20))
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    rng = np.random.default_rng(0)
    drawn = [autoaugment.augment(every, marks, rng).tobytes() for _ in range(4000)]
    _, counts = np.unique(np.array(drawn, object), return_counts=True)
    # Solarised wholly and inverted is as solarised not at all: two pairs of marks look alike.
    assert len(counts) == 18
    single = np.sort(counts)[:-2] / 4000
    np.testing.assert_allclose(single, 0.05, atol=0.016)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_sub_policy_works_on_pictures_of_any_size(channels):
    chosen = options(resize=9, size=7, channels=channels, policy="autoaugment")
    check(*chosen)
    for side in (1, 2, 9):
        picture = noise(side, side, channels)
        for (one, _, first), (other, _, second) in autoaugment.IMAGENET:
            certain = (((one, 1.0, first), (other, 1.0, second)),)
            result = autoaugment.augment(picture, certain, np.random.default_rng(0))
            assert result.shape == picture.shape and result.dtype == np.uint8
    result = augment(noise(9, 9, channels), *chosen, np.random.default_rng(1))
    assert result.shape == (7, 7, channels)
