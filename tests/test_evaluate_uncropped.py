"""Uncropped images: shapes, batches of one shape, and vectors as of one image at a time."""

import dataclasses
import io
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from states import created_state

from abe_jax import config, models
from abe_jax.config import Config, build
from abe_jax.data import Preprocessing, Split, loader, uncropped
from abe_jax.data.images import decoding
from abe_jax.errors import UserError
from abe_jax.evaluation import network as network_module
from abe_jax.evaluation import resolution
from abe_jax.evaluation.network import Network
from abe_jax.runs.exponent import BATCH, ExponentLearning
from abe_jax.training import step
from abe_jax.training.state import TrainState

TINY = Path(__file__).with_name("tiny_config.py")
SINGLE = ("model.kind=single", "model.learners=1")
# Height and width of the pictures; with longest 64 and step 16: what each becomes.
BECOMES = {
    (48, 80): (32, 64),  # 38.4 px
    (51, 80): (48, 64),  # 40.8 px: nearer to 48
    (80, 48): (64, 32),
    (20, 20): (64, 64),  # enlarged
    (300, 10): (64, 16),  # at least one step
    (100, 98): (64, 64),
    (32, 64): (32, 64),
}
PICTURES = [size for size in BECOMES if size != (51, 80)]  # a shape less to compile


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((height, width, seed))
    coarse = rng.integers(0, 256, (5, 4, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(image: np.ndarray, kind: str = ".png") -> bytes:
    return cv2.imencode(kind, image)[1].tobytes()


@pytest.mark.parametrize(("size", "expected"), BECOMES.items())
def test_the_longest_side_is_met_and_the_other_is_a_multiple(size, expected):
    height, width = size
    assert uncropped.scaled(height, width, 64, 16) == expected


def test_the_aspect_is_off_by_half_a_step_at_most():
    for height in range(20, 400, 7):
        for width in range(20, 400, 11):
            found = uncropped.scaled(height, width, 400, 32)
            exact = [side * 400 / max(height, width) for side in (height, width)]
            assert max(found) == 400 and (min(found) % 32 == 0 or found == (400, 400))
            if min(exact) >= 16:
                assert max(abs(a - b) for a, b in zip(found, exact, strict=True)) <= 16


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_of_an_uncropped_image_is_cropped_or_padded(channels):
    values = np.array([[10, 90, 170], [50, 130, 250]], np.uint8)  # six fields of 20 x 30 px
    picture = np.repeat(np.repeat(values, 20, axis=0), 30, axis=1)[..., None].repeat(channels, 2)
    preprocessing = Preprocessing(channels=channels, fit="cover", resize=8, size=8)
    small = preprocessing.full(encoded(picture), 4, 6)
    assert small.shape == (4, 6, channels)
    np.testing.assert_array_equal(small[..., 0], values.repeat(2, axis=0).repeat(2, axis=1))
    assert preprocessing.full(encoded(picture), 50, 90).shape == (50, 90, channels)
    np.testing.assert_array_equal(preprocessing.full(encoded(picture), 40, 90), picture)


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_size_is_that_of_the_pixels(kind, channels):
    file = encoded(noise(21, 34), kind)
    assert uncropped.size(file) == decoding.pixels(file, channels).shape[:2] == (21, 34)


@pytest.mark.parametrize("orientation", range(10))
def test_the_size_of_a_jpeg_is_that_of_the_upright_picture(orientation):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(21, 34)).save(buffer, "JPEG", exif=exif)
    file = buffer.getvalue()
    assert uncropped.size(file) == decoding.pixels(file).shape[:2]
    assert uncropped.size(file) == ((34, 21) if orientation in (5, 6, 7, 8) else (21, 34))


@pytest.mark.parametrize("file", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n"])
def test_what_has_no_header_has_no_size(file):
    assert uncropped.size(file) == uncropped.UNREADABLE


def test_unreadable_images_add_no_shape():
    sizes = np.array([(10, 20), (0, 0), (20, 10), (9, 20)], np.int32)
    found = uncropped.shapes(sizes, 64, 32)
    assert found.tolist() == [[32, 64], [32, 64], [64, 32], [32, 64]]
    assert uncropped.shapes(np.zeros((2, 2), np.int32), 64, 32).tolist() == [[64, 64]] * 2


def test_a_shape_has_batches_of_one_length_and_every_row_comes_once():
    shapes = np.array([(32, 64)] * 13 + [(64, 32)] * 3 + [(64, 64)], np.int32)
    shapes = np.random.default_rng(0).permutation(shapes)
    planned = uncropped.plan(shapes, 8, 2)
    assert Counter(len(batch.rows) for batch in planned) == {8: 2, 4: 1, 2: 1}
    seen = np.concatenate([batch.rows[batch.mask] for batch in planned])
    assert sorted(seen.tolist()) == list(range(17))
    for batch in planned:
        assert (shapes[batch.rows] == batch.shape).all()
        own = batch.rows[batch.mask].tolist()
        assert own == sorted(own)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of every shape in two classes, one of them cut short and one no picture."""
    base = tmp_path_factory.mktemp("pictures")
    for c, name in enumerate(("ant", "bee")):
        (base / name).mkdir()
        for i, size in enumerate(PICTURES):
            (base / name / f"{i}.png").write_bytes(encoded(noise(*size, c)))
    (base / "ant" / "2.jpg").write_bytes(encoded(noise(80, 48), ".jpg")[:200])
    (base / "bee" / "x.png").write_bytes(b"no picture")
    return base


def made(folder: Path, *overrides: str) -> Config:
    chosen = config.load(
        TINY,
        (
            "data.name=folder",
            f"data.path={folder}",
            "data.channels=3",
            "data.mean=(110.0,120.0,130.0)",
            "data.std=(50.0,60.0,70.0)",
            "data.classes=1",
            "evaluate.longest=64",
            "evaluate.side_step=16",
            "evaluate.batch=4",
            *overrides,
        ),
    )
    return chosen


def every(chosen: Config, sizes: Collection[tuple[int, ...]] = PICTURES) -> Split:
    """The folder's pictures of these sizes, and what cannot be read, as one split."""
    parts = [build.dataset(chosen.data).split(name) for name in ("train", "test")]
    records = [part.records[i] for part in parts for i in range(len(part.labels))]
    records = [file for file in records if size_of(file) in (None, *sizes)]
    labels = np.arange(len(records), dtype=np.int32)
    names = tuple(map(str, labels))
    return Split(name="test", records=records, labels=labels, class_names=names)


def size_of(file: bytes) -> tuple[int, ...] | None:
    try:
        return decoding.pixels(file).shape[:2]
    except decoding.UnreadableImage:
        return None


def state_of(chosen: Config) -> TrainState:
    """A start whose running statistics are no defaults."""
    start = created_state(chosen)
    noisy = np.random.default_rng(0)
    stats = jax.tree.map(
        lambda x: x * noisy.uniform(0.5, 2.0, x.shape).astype(np.float32), start.batch_stats
    )
    return start.replace(batch_stats=stats)


def one_at_a_time(network: Network, state: TrainState, split: Split) -> Any:
    """The vectors of the readable images, each of a batch of one, and which these are."""
    model, preprocessing = network.model, network.preprocessing
    variables = {"params": state.params["model"], "batch_stats": state.batch_stats}

    def vectors_of(x: jax.Array) -> jax.Array:
        found: Any = model.apply(variables, x, train=False)
        return found.vectors

    apply = jax.jit(vectors_of)
    vectors, read, to = [], [], (network.longest, network.side_step)
    for i in range(len(split.labels)):
        if size_of(split.records[i]) is None:
            continue
        height, width, _ = decoding.pixels(split.records[i]).shape
        shape = uncropped.scaled(height, width, *to)
        pixels = preprocessing.full(split.records[i], *shape)[None]
        vectors.append(apply(preprocessing.normalise(jnp.asarray(pixels)))[0])
        read.append(i)
    return np.stack(vectors), read


def assert_as_one_at_a_time(chosen: Config, sizes: Collection[tuple[int, ...]] = PICTURES) -> None:
    network, split, state = build.network(chosen), every(chosen, sizes), state_of(chosen)
    found = network.vectors(step.replicate(state), split)
    vectors, read = one_at_a_time(network, state, split)
    assert found.image_ids.tolist() == read and len(read) == 2 * len(sizes)
    assert len(found.unreadable) == 2 and not set(found.unreadable) & set(read)
    # No two pictures are so alike that rows in another order would pass.
    distance = np.linalg.norm(vectors[:, None, 0] - vectors[None, :, 0], axis=-1)
    assert distance[~np.eye(len(read), dtype=bool)].min() > 1e-3
    np.testing.assert_allclose(found.vectors, vectors, atol=2e-5)


def test_vectors_are_those_of_one_image_at_a_time(folder):
    chosen = made(folder, *SINGLE, "model.pooling=gem", "model.branch=pool2")
    assert_as_one_at_a_time(chosen, PICTURES[:3])


@pytest.mark.slow
def test_an_ensemble_too(folder):
    assert_as_one_at_a_time(made(folder))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "resnet18"])
def test_other_backbones_too(folder, backbone):
    chosen = made(folder, f"model.backbone={backbone}", "model.norm=", *SINGLE)
    branch = f"model.branch={models.stages(chosen.model.backbone)[1].name}"
    # Maps of 50, 25, 13, 7, 4 and 2 px by 30, 15, 8, 4, 2 and 1: padded by their parity.
    odd = ("evaluate.longest=50", "evaluate.side_step=10", "evaluate.batch=2", branch, *SINGLE)
    chosen = made(folder, f"model.backbone={backbone}", "model.norm=", *odd)
    assert_as_one_at_a_time(chosen, [(48, 80), (20, 20)])


def test_two_hosts_load_together_what_one_loads(folder):
    chosen = made(folder)
    split, preprocessing = every(chosen), build.preprocessing(chosen.data)
    sizes = uncropped.sizes(split, np.arange(len(split.labels)))
    planned = uncropped.plan(uncropped.shapes(sizes, 64, 16), 4, 2)

    def loaded(shard: loader.Shard) -> list[loader.Batch]:
        return list(uncropped.batches(split, preprocessing, planned, shard=shard))

    alone, halves = loaded(loader.Shard()), [loaded(loader.Shard(i, 2)) for i in range(2)]
    for one, *both in zip(alone, *halves, strict=True):
        for leaf, *parts in zip(*map(jax.tree.leaves, (one, *both)), strict=True):
            np.testing.assert_array_equal(np.concatenate(parts), leaf)
    assert sum(batch.mask.sum() for batch in alone) == 12


def test_a_vision_transformer_refuses_in_one_line(folder):
    chosen = made(folder, "model.backbone=vit_s16", "model.norm=layer", "model.branch=")
    with pytest.raises(UserError, match=r"evaluate\.longest: 'vit_s16' has positions"):
        build.network(chosen)


def test_another_resolution_is_another_longest_side(folder):
    network = build.network(made(folder))
    assert resolution.resized(network, 64) is network
    found = resolution.resized(network, 96)
    assert (found.longest, found.preprocessing) == (96, network.preprocessing)


@pytest.mark.parametrize("longest", [0, 64])
def test_a_batch_grows_to_what_divides_over_the_devices(folder, longest, monkeypatch):
    chosen = made(folder, f"evaluate.longest={longest}", "evaluate.batch=4")
    split, seen, state = every(chosen), [], created_state(chosen)

    def vectors(_: Any, batch: loader.Batch) -> np.ndarray:
        seen.append(len(batch.images))
        return np.zeros((len(batch.images), 1, 2), np.float32)

    monkeypatch.setattr(network_module.step, "embed_step", lambda *_: vectors)
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    found = build.network(chosen).vectors(state, split)
    assert len(found.vectors) == 2 * len(PICTURES)
    assert set(seen) == ({3, 6} if longest else {6})


def test_the_exponent_of_uncropped_images_is_learned_on_uncropped_images(folder):
    chosen = made(folder, "data.size=32")
    split = every(chosen)
    learning = ExponentLearning(network=build.network(chosen), objective=build.objective(chosen))
    count, made_of = learning.batches(split, 0)
    batches = list(made_of)
    assert len(batches) == count
    assert {max(batch.images.shape[1:3]) for batch in batches} == {64}
    assert max(len(batch.images) for batch in batches) == BATCH
    assert sum(batch.mask.sum() for batch in batches) == 2 * len(PICTURES)
    read = np.concatenate([batch.labels[batch.mask] for batch in batches])
    assert len(set(read)) == len(read)
    for batch in batches:
        for pixels, label in zip(batch.images[batch.mask], batch.labels[batch.mask], strict=True):
            image = learning.network.preprocessing.full(split.records[label], *pixels.shape[:2])
            np.testing.assert_array_equal(pixels, image)
    count, made_of = learning.batches(split, 2)
    assert count == len(list(made_of)) == 2
    squares = dataclasses.replace(learning.network, longest=0)
    count, made_of = dataclasses.replace(learning, network=squares).batches(split, 0)
    assert {batch.images.shape for batch in made_of} == {(BATCH, 32, 32, 3)}


def test_a_longest_side_that_the_network_cannot_take_is_named(folder):
    network = build.network(made(folder))
    for size in (4, 68):
        with pytest.raises(UserError, match=r"^size: a map of"):
            resolution.resized(network, size)
