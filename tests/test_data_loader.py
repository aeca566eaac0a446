"""Batches: pure functions of seed and step, whatever threads and hosts; padding and masks."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from abe_jax import data
from abe_jax.data import Augmentation, Preprocessing, Sampling, Split, loader
from abe_jax.data.images.augmentation import augment
from abe_jax.data.loader import Batch, Schedule, Shard
from abe_jax.errors import ArgumentError

SQUARE = Preprocessing(resize=32, size=28, channels=1)
RANDOM = Augmentation(padding=2, flip=True)


@pytest.fixture(scope="module")
def split(tiny_data: Path) -> Split:
    return data.glyphs(str(tiny_data), tiny=True).split("val")


def sample(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 143, 12)


def batches(split: Split, augmentation: Augmentation = RANDOM, **changes) -> list[Batch]:
    schedule = Schedule(**{"seed": 3, "steps": 6, **changes})
    return list(loader.training(split, SQUARE, augmentation, sample, schedule))


def joined(parts: list[Batch]) -> Batch:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def assert_same(left: Batch, right: Batch) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_holds_what_the_sampler_names(split: Split) -> None:
    for step, batch in enumerate(batches(split)):
        np.testing.assert_array_equal(batch.image_ids, sample(step))
        np.testing.assert_array_equal(batch.labels, split.labels[sample(step)])
        assert batch.mask.all()
        assert batch.images.shape == (12, 28, 28, 1)
        for place, index in enumerate(sample(step)):
            square = SQUARE.decode(split.records[int(index)])
            rng = np.random.default_rng((3, step, place))
            np.testing.assert_array_equal(batch.images[place], augment(square, SQUARE, RANDOM, rng))


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_change_nothing(threads: int, split: Split) -> None:
    assert_same(joined(batches(split)), joined(batches(split, threads=threads)))


def test_a_later_start_gives_the_later_batches(split: Split) -> None:
    assert_same(joined(batches(split)[4:]), joined(batches(split, start=4)))
    assert batches(split, start=6) == []


def test_another_seed_augments_otherwise(split: Split) -> None:
    one, other = joined(batches(split)), joined(batches(split, seed=4))
    np.testing.assert_array_equal(one.image_ids, other.image_ids)
    assert (one.images != other.images).any()


@pytest.mark.parametrize("hosts", [2, 3])
def test_hosts_share_one_global_batch_by_rows(hosts: int, split: Split) -> None:
    parts = [batches(split, shard=Shard(i, hosts)) for i in range(hosts)]
    for full, *shares in zip(batches(split), *parts, strict=True):
        assert all(len(share.mask) == 12 // hosts for share in shares)
        assert_same(joined(shares), full)


@pytest.mark.parametrize("hosts", [1, 2])
def test_in_order_every_image_comes_once_and_padding_is_masked(hosts: int, split: Split) -> None:
    parts = [list(loader.in_order(split, SQUARE, 40, shard=Shard(i, hosts))) for i in range(hosts)]
    assert [len(part) for part in parts] == [4] * hosts  # 143 images: 17 rows of padding
    full = joined([batch for step in zip(*parts, strict=True) for batch in step])
    assert len(full.mask) == 160
    np.testing.assert_array_equal(full.image_ids[full.mask], np.arange(143))
    np.testing.assert_array_equal(full.mask, np.arange(160) < 143)
    for i in (0, 77, 142):
        np.testing.assert_array_equal(full.images[i], SQUARE.crop(split.records[i]))
    rows = np.array([142, 0])
    np.testing.assert_array_equal(loader.images_at(split, SQUARE, rows), full.images[rows])


def test_repeated_rows_are_one_image_under_augmentations_of_their_own(split: Split) -> None:
    chosen = Sampling(sampler="class_balanced", images_per_class=2, repeats=3)
    drawn = chosen.batches(split.labels, 24, seed=3)
    batch = next(loader.training(split, SQUARE, RANDOM, drawn, Schedule(seed=3, steps=1)))
    image_ids = batch.image_ids.reshape(8, 3)
    assert (image_ids == image_ids[:, :1]).all() and len(set(image_ids[:, 0])) == 8
    shown = batch.images.reshape(8, 3, -1)
    assert sum(len({row.tobytes() for row in group}) for group in shown) > 8 * 2
    same_image = batch.image_ids[:, None] == batch.image_ids
    same_class = batch.labels[:, None] == batch.labels
    assert same_image.sum() == 24 * 3 and same_class.sum() == 24 * 6


def test_resized_crops_come_the_same_whatever_the_threads(split: Split) -> None:
    chosen = dataclasses.replace(RANDOM, crop="resized")
    several, one = (joined(batches(split, chosen, threads=threads)) for threads in (5, 1))
    assert_same(several, one)
    assert (one.images != joined(batches(split)).images).any()


def test_an_unreadable_image_is_a_masked_row_of_zeros(split: Split) -> None:
    records = [split.records[i] for i in range(143)]
    bad = int(sample(1)[5])
    records[bad] = b"no image"
    damaged = dataclasses.replace(split, records=records)
    sound, broken = joined(batches(split)), joined(batches(damaged))
    hit = broken.image_ids == bad
    np.testing.assert_array_equal(broken.mask, ~hit)
    assert not broken.images[hit].any()
    np.testing.assert_array_equal(broken.images[~hit], sound.images[~hit])
    np.testing.assert_array_equal(broken.labels, sound.labels)
    in_order = joined(list(loader.in_order(damaged, SQUARE, 40)))
    np.testing.assert_array_equal(np.flatnonzero(~in_order.mask), [bad, *range(143, 160)])


def test_an_augmentation_that_the_images_cannot_have_is_refused_at_the_start(split: Split) -> None:
    with pytest.raises(ArgumentError, match=r"^lighting: .* needs 3 channels"):
        batches(split, Augmentation(lighting=0.1))
