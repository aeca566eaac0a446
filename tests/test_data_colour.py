"""Colour jitter and PCA lighting, and that runs without them see what they always saw."""

import cv2
import numpy as np
import pytest
from image_options import options
from PIL import Image, ImageEnhance

from abe_jax import config, data
from abe_jax.data import Augmentation, Dataset, Preprocessing, loader
from abe_jax.data.images import colour
from abe_jax.data.images.augmentation import augment, check
from abe_jax.errors import ArgumentError, UserError


def both(**changes) -> tuple[Preprocessing, Augmentation]:
    return options(**{"resize": 32, "size": 24, **changes})


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape, np.uint8, endpoint=True)


def smooth(*shape):
    """A picture whose neighbouring pixels are alike, and which reaches neither black nor white."""
    small = np.random.default_rng(1).integers(50, 200, (6, 6, shape[2])).astype(np.uint8)
    return cv2.resize(small, (shape[1], shape[0])).reshape(shape)


def expected_before(picture, size, chosen, rng):
    """A crop and a mirror, and nothing else, from the numbers that they always took."""
    side = len(picture)
    if chosen.crop == "plain":
        top, left = rng.integers(0, side - size, size=2, endpoint=True)
        crop = picture[top : top + size, left : left + size]
    else:
        shares = rng.uniform(*chosen.crop_scale, 10)
        ratios = np.exp(rng.uniform(-np.log(4 / 3), np.log(4 / 3), 10))
        place = rng.random(2)
        sizes = np.rint(side * np.sqrt([shares / ratios, shares * ratios])).astype(int).T
        height, width = next(size for size in sizes if max(size) <= side)
        top, left = (place * [side + 1 - height, side + 1 - width]).astype(int)
        shrinks = min(height, width) >= size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        crop = picture[top : top + height, left : left + width]
        crop = cv2.resize(crop, (size, size), interpolation=how)
    return crop[:, ::-1] if rng.random() < 0.5 and chosen.flip else crop


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("crop", ["plain", "resized"])
def test_without_colour_options_pictures_and_numbers_are_what_they_were(crop, flip):
    picture, chosen = noise(32, 32, 3), both(crop=crop, crop_scale=(0.1, 0.5), flip=flip)
    for seed in range(20):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        before = expected_before(picture, 24, chosen[1], other)
        np.testing.assert_array_equal(augment(picture, *chosen, one), before)
        assert one.bit_generator.state == other.bit_generator.state


@pytest.mark.parametrize(
    "changes", [{"jitter": 0.3}, {"lighting": 0.1}, {"policy": "autoaugment"}], ids=str
)
def test_each_option_changes_the_colours_of_the_same_crop(changes):
    picture, plain = smooth(32, 32, 3), both(flip=True)
    chosen = both(flip=True, **changes)
    several = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        crop = augment(picture, *plain, rng)
        changed = augment(picture, *chosen, np.random.default_rng(seed))
        again = augment(picture, *chosen, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed, again)
        several.append((changed != crop).any())
        assert changed.shape == crop.shape and changed.dtype == np.uint8
    assert sum(several) > 15


@pytest.mark.parametrize(
    "changes",
    [{"jitter": 0.3}, {"lighting": 0.1}, {"policy": "autoaugment"}, {"jitter": 0.1, "flip": True}],
    ids=str,
)
def test_how_many_numbers_are_taken_depends_on_no_picture_and_no_strength(changes):
    weak = {name: 0.01 if isinstance(value, float) else value for name, value in changes.items()}
    for seed in range(30):
        states = []
        for picture, chosen in (
            (noise(32, 32, 3), both(**changes)),
            (np.zeros((32, 32, 3), np.uint8), both(**changes)),
            (smooth(32, 32, 3), both(**weak)),
        ):
            rng = np.random.default_rng(seed)
            augment(picture, *chosen, rng)
            states.append(rng.bit_generator.state)
        assert states[0] == states[1] == states[2]


def test_options_act_in_the_order_policy_jitter_lighting():
    picture = smooth(24, 24, 3)
    chosen = both(resize=24, policy="autoaugment", jitter=0.4, lighting=0.5)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        expected = augment(picture, *both(resize=24, policy="autoaugment"), rng)
        expected = colour.lighting(colour.jitter(expected, 0.4, rng), 0.5, rng)
        result = augment(picture, *chosen, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.9, 1.0, 1.2, 1.9])
@pytest.mark.parametrize(
    ("change", "pillow"),
    [
        (colour.brightness, ImageEnhance.Brightness),
        (colour.contrast, ImageEnhance.Contrast),
        (colour.saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("shape", [(17, 23, 3), (17, 23, 1)])
def test_changes_are_pillows_up_to_its_rounding(change, pillow, factor, shape):
    """Pillow rounds down, and rounds grey and mean before it uses them."""
    picture = noise(*shape)
    picture[..., 1:] //= 3  # reddish, so that a mean of channels is no grey
    result = colour.rounded(change(picture.astype(np.float32), factor))
    expected = pillow(Image.fromarray(picture.squeeze())).enhance(factor)
    difference = result.astype(int) - np.asarray(expected).reshape(shape)
    assert abs(difference).max() <= 2 and abs(difference.mean()) <= 1
    assert factor != 1 or not difference.any()


def drawn(strength, count=400, shape=(8, 8, 3)):
    picture = smooth(*shape)
    rng = np.random.default_rng(0)
    return picture.astype(float), [
        colour.jitter(picture, strength, rng).astype(float) for _ in range(count)
    ]


def test_jitter_stays_within_its_limits_and_reaches_them():
    grey = np.full((4, 4, 3), 100, np.uint8)  # here only the brightness changes anything
    rng = np.random.default_rng(0)
    values = np.array([colour.jitter(grey, 0.3, rng) for _ in range(800)])
    assert (values == values[:, :1, :1, :1]).all()
    values = values[:, 0, 0, 0]
    assert values.min() in (70, 71) and values.max() in (129, 130)
    counts, _ = np.histogram(values, 4, (69.5, 130.5))
    np.testing.assert_allclose(counts / 800, 0.25, atol=0.05)


def test_jitter_changes_contrast_and_saturation_within_their_limits():
    picture, results = drawn(0.3)
    luma = np.array([0.299, 0.587, 0.114])
    spread = (picture @ luma).std()
    chroma = (picture - (picture @ luma)[..., None]).std()
    contrasts, colours = [], []
    for result in results:
        grey = result @ luma
        bright = grey.mean() / (picture @ luma).mean()
        contrasts.append(grey.std() / spread / bright)
        colours.append((result - grey[..., None]).std() / chroma / bright / contrasts[-1])
    for factors in (np.array(contrasts), np.array(colours)):
        assert 0.68 < factors.min() < 0.74 and 1.24 < factors.max() < 1.32
        assert abs(factors.mean() - 1) < 0.05


def test_jitter_takes_every_order():
    """White and black at full strength come out differently for each order of the changes."""
    picture = noise(6, 6, 3)
    changes = (colour.brightness, colour.contrast, colour.saturation)
    seen = set()
    for seed in range(60):
        numbers = np.random.default_rng(seed).random(6)
        factors, order = 0.1 + 1.8 * numbers[:3], tuple(np.argsort(numbers[3:]).tolist())
        expected = picture.astype(np.float32)
        for place in order:
            expected = changes[place](expected, float(factors[place]))
        result = colour.jitter(picture, 0.9, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, np.rint(expected))
        seen.add(order)
    assert len(seen) == 6


def test_a_grey_picture_is_jittered_as_its_colour_copy_is():
    grey = smooth(12, 12, 1)
    for seed in range(20):
        one = colour.jitter(grey, 0.5, np.random.default_rng(seed))
        three = colour.jitter(np.repeat(grey, 3, 2), 0.5, np.random.default_rng(seed))
        np.testing.assert_allclose(np.repeat(one, 3, 2).astype(int), three.astype(int), atol=1)
    chosen = both(channels=1, jitter=0.5)
    check(*chosen)
    crop = augment(noise(32, 32, 1), *chosen, np.random.default_rng(0))
    assert crop.shape == (24, 24, 1)


def test_eigenvectors_are_orthonormal_and_eigenvalues_fit_imagenets_spread():
    product = colour.EIGENVECTORS.T @ colour.EIGENVECTORS
    np.testing.assert_allclose(product, np.eye(3), atol=2e-4)
    covariance = colour.EIGENVECTORS * colour.EIGENVALUES @ colour.EIGENVECTORS.T
    deviations = np.sqrt(np.diag(covariance))  # of red, green and blue in 0..1
    np.testing.assert_allclose(deviations, 0.28, atol=0.02)


def test_lighting_adds_what_its_three_numbers_say():
    for seed in range(20):
        first, second, third = np.random.default_rng(seed).normal(0, 0.4, 3) * 255
        shift = (
            0.2175 * first * np.array([-0.5675, -0.5808, -0.5836])  # lighter, darker
            + 0.0188 * second * np.array([0.7192, -0.0045, -0.6948])  # warmer, colder
            + 0.0045 * third * np.array([0.4009, -0.8140, 0.4203])
        )
        flat = np.full((2, 3, 3), 128, np.uint8)
        result = colour.lighting(flat, 0.4, np.random.default_rng(seed))
        assert abs(result - (128 + shift)).max() < 0.501


def test_lighting_shifts_a_whole_picture_along_the_eigenvectors():
    """The shifts have mean 0 and the covariance P diag(s lambda)^2 P^T, in units of 0..255."""
    flat, strength = np.full((2, 2, 3), 128, np.uint8), 0.5
    rng = np.random.default_rng(0)
    results = np.array([colour.lighting(flat, strength, rng) for _ in range(4000)]).astype(float)
    assert (results == results[:, :1, :1]).all()
    shifts = results[:, 0, 0] - 128
    assert (abs(shifts.mean(0)) < 4 * shifts.std(0) / np.sqrt(4000)).all()
    deviations = strength * np.array([0.2175, 0.0188, 0.0045]) * 255
    along = shifts @ colour.EIGENVECTORS
    rounding = 1 / 12
    np.testing.assert_allclose(along.var(0), deviations**2 + rounding, rtol=0.08)
    correlation = np.corrcoef(along.T) - np.eye(3)
    assert abs(correlation).max() < 0.06


def test_lighting_is_the_same_for_every_pixel_and_ends_at_black_and_white():
    picture = np.array([[[0, 128, 255]], [[100, 100, 100]]], np.uint8)
    rng = np.random.default_rng(3)
    for _ in range(50):
        result = colour.lighting(picture, 3.0, rng).astype(int)
        shift = result[1, 0] - 100
        inside = (result[1, 0] > 0) & (result[1, 0] < 255)
        expected = np.clip(picture[0, 0] + shift, 0, 255)
        np.testing.assert_array_equal(result[0, 0][inside], expected[inside])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"policy": "autoaugmnet"}, "policy: .*'autoaugmnet'; did you mean 'autoaug"),
        ({"lighting": 0.1, "channels": 1}, "lighting: 0.1 with channels=1.* needs 3 channels"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(changes, said):
    check(*both(jitter=0.3, lighting=0.1, policy="autoaugment"))
    with pytest.raises(ArgumentError, match=said) as refused:
        check(*both(**changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("jitter", -0.1, "at least 0"), ("jitter", 1.5, "at most 1"), ("lighting", -1, "at least 0")],
)
def test_strengths_out_of_their_bounds_are_refused(name, value, said):
    mapping = {
        "data": {"name": "glyphs", name: value},
        "model": {"backbone": "convnet", "kind": "single"},
        "objective": [{"name": "contrastive"}],
        "train": {"steps": 0},
    }
    with pytest.raises(UserError, match=f"config.data.{name}: {value}.*{said}"):
        config.from_mapping(mapping)
    with pytest.raises(ArgumentError, match=f"^{name}: {value}"):
        Augmentation(**{name: value})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A folder of three classes of four JPEGs."""
    path = tmp_path_factory.mktemp("photographs")
    for number in range(12):
        picture = np.roll(smooth(40, 50, 3), 4 * number, axis=1)
        file = path / f"class_{number // 4}" / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return data.folder(path, test_share=0.34)


COLOURS = {"policy": "autoaugment", "jitter": 0.3, "lighting": 0.1}


def loaded(photographs: Dataset, changes: dict, **schedule) -> np.ndarray:
    rows = np.repeat(np.arange(4), 2)  # each image twice

    def sample(step: int) -> np.ndarray:
        return rows

    chosen = both(crop="resized", flip=True, **changes)
    planned = loader.Schedule(seed=5, steps=4, **schedule)
    batches = loader.training(photographs.split("train"), *chosen, sample, planned)
    return np.stack([batch.images for batch in batches])


def test_colours_come_through_the_loader_alike_for_any_threads_and_hosts(photographs):
    alone = loaded(photographs, COLOURS, threads=1)
    assert alone.shape == (4, 8, 24, 24, 3)
    np.testing.assert_array_equal(alone, loaded(photographs, COLOURS, threads=5))
    hosts = [loaded(photographs, COLOURS, shard=loader.Shard(index, 2)) for index in range(2)]
    np.testing.assert_array_equal(alone, np.concatenate(hosts, axis=1))


def test_colours_differ_between_repeats_steps_and_from_those_without(photographs):
    coloured = loaded(photographs, COLOURS)
    assert len({row.tobytes() for row in coloured.reshape(32, -1)}) == 32
    changed = (coloured != loaded(photographs, {})).reshape(32, -1).mean(1)
    assert (changed > 0.3).all()


def test_an_evaluation_sees_colours_as_they_are(photographs):
    test, (square, _) = photographs.split("test"), both()
    (batch,) = loader.in_order(test, square, 4)
    assert batch.mask.all()
    for i, image in enumerate(batch.images):
        pixels = cv2.imdecode(np.frombuffer(test.records[i], np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        height = round(40 * 32 / 50)
        small = cv2.resize(pixels[..., ::-1], (32, height), interpolation=cv2.INTER_AREA)
        top = (32 - height) // 2
        expected = np.zeros((32, 32, 3), np.uint8)
        expected[top : top + height] = small
        np.testing.assert_array_equal(image, expected[4:28, 4:28])
