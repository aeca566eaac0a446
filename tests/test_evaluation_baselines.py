"""Raw pixels: shrunk as evaluation has them, without ever holding all images at full size."""

import tracemalloc

import cv2
import numpy as np

from abe_jax import models
from abe_jax.data import Preprocessing, Split, loader
from abe_jax.evaluation.baselines import small_pixels
from abe_jax.evaluation.network import Network


def made(count: int, side: int) -> tuple[Split, Network]:
    """Images of noise, one of them no image."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]
    encoded = [cv2.imencode(".bmp", image)[1].tobytes() for image in images]
    encoded[3] = b"no image"
    labels = np.arange(count, dtype=np.int32) // 2
    split = Split(
        name="val", records=encoded, labels=labels, groups=None, class_names=("a",) * count
    )
    preprocessing = Preprocessing(size=side, resize=side)
    model = models.build("single", backbone="convnet")
    return split, Network(model, preprocessing, batch=4, threads=1)


def test_pixels_are_those_of_each_image_shrunk() -> None:
    split, network = made(10, 80)
    rows = np.array([0, 1, 2, 4, 9])
    full = loader.images_at(split, network.preprocessing, rows)
    assert full.shape == (5, 80, 80, 3) and len(np.unique(full.reshape(5, -1), axis=0)) == 5
    batches = list(loader.in_order(split, network.preprocessing, 4))
    assert (np.concatenate([batch.images for batch in batches])[rows] == full).all()
    expected = [cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) for image in full]
    assert (small_pixels(network, split, rows) == np.stack(expected)).all()
    split, network = made(6, 20)  # smaller already
    small = small_pixels(network, split, rows[:4])
    assert (small == loader.images_at(split, network.preprocessing, rows[:4])).all()


def test_a_split_is_never_held_at_full_size() -> None:
    split, network = made(120, 224)
    full_size = 120 * 224 * 224 * 3
    tracemalloc.start()
    found = small_pixels(network, split, np.arange(120))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (120, 32, 32, 3)
    assert peak < full_size / 2
