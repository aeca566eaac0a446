"""Batches: pure functions of seed and step, whatever threads and hosts; padding and masks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from abe_jax.config import Data
from abe_jax.data import dataset, loader, sampling
from abe_jax.data.images import preprocessing
from abe_jax.data.loader import Batch, Shard


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Data:
    return Data(
        name="glyphs_tiny",
        root=str(tiny_data),
        resize=32,
        size=28,
        channels=1,
        padding=2,
        flip=True,
    )


@pytest.fixture(scope="module")
def split(data: Data) -> dataset.Split:
    return dataset.load(data, "val")


def sample(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 143, 12)


def batches(split: dataset.Split, data: Data, **options) -> list[Batch]:
    given = {"seed": 3, "start": 0, "steps": 6, **options}
    return list(loader.training(split, data, sample, **given))


def joined(parts: list[Batch]) -> Batch:
    return Batch(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))


def assert_same(left: Batch, right: Batch) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_holds_what_the_sampler_names(split: dataset.Split, data: Data) -> None:
    for step, batch in enumerate(batches(split, data)):
        np.testing.assert_array_equal(batch.instances, sample(step))
        np.testing.assert_array_equal(batch.labels, split.labels[sample(step)])
        assert batch.mask.all()
        assert batch.images.shape == (12, 28, 28, 1)
        for place, index in enumerate(sample(step)):
            whole = preprocessing.decode(split.records[int(index)], data)
            rng = np.random.default_rng((3, step, place))
            np.testing.assert_array_equal(
                batch.images[place], preprocessing.augment(whole, data, rng)
            )


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_change_nothing(threads: int, split: dataset.Split, data: Data) -> None:
    other = dataclasses.replace(data, threads=threads)
    assert_same(joined(batches(split, data)), joined(batches(split, other)))


def test_a_later_start_gives_the_later_batches(split: dataset.Split, data: Data) -> None:
    assert_same(joined(batches(split, data)[4:]), joined(batches(split, data, start=4)))
    assert batches(split, data, start=6) == []


def test_another_seed_augments_otherwise(split: dataset.Split, data: Data) -> None:
    one, other = joined(batches(split, data)), joined(batches(split, data, seed=4))
    np.testing.assert_array_equal(one.instances, other.instances)
    assert (one.images != other.images).any()


@pytest.mark.parametrize("hosts", [2, 3])
def test_hosts_share_one_global_batch_by_rows(hosts: int, split: dataset.Split, data: Data) -> None:
    parts = [batches(split, data, shard=Shard(i, hosts)) for i in range(hosts)]
    for whole, *shares in zip(batches(split, data), *parts, strict=True):
        assert all(len(share.mask) == 12 // hosts for share in shares)
        assert_same(joined(shares), whole)


@pytest.mark.parametrize("hosts", [1, 2])
def test_in_order_every_image_comes_once_and_padding_is_masked(
    hosts: int, split: dataset.Split, data: Data
) -> None:
    parts = [list(loader.in_order(split, data, 40, Shard(i, hosts))) for i in range(hosts)]
    assert [len(part) for part in parts] == [4] * hosts  # 143 images: 17 rows of padding
    whole = joined([batch for step in zip(*parts, strict=True) for batch in step])
    assert len(whole.mask) == 160
    np.testing.assert_array_equal(whole.instances[whole.mask], np.arange(143))
    np.testing.assert_array_equal(whole.mask, np.arange(160) < 143)
    for i in (0, 77, 142):
        expected = preprocessing.centre(preprocessing.decode(split.records[i], data), data)
        np.testing.assert_array_equal(whole.images[i], expected)


def test_repeated_rows_are_one_image_under_augmentations_of_their_own(
    split: dataset.Split, data: Data
) -> None:
    chosen = dataclasses.replace(data, sampler="class_balanced", images_per_class=2, repeats=3)
    drawn = sampling.sampler(chosen, split.labels, 24, seed=3)
    batch = next(loader.training(split, chosen, drawn, seed=3, start=0, steps=1))
    instances = batch.instances.reshape(8, 3)
    assert (instances == instances[:, :1]).all() and len(set(instances[:, 0])) == 8
    shown = batch.images.reshape(8, 3, -1)
    assert sum(len({row.tobytes() for row in group}) for group in shown) > 8 * 2
    same_image = batch.instances[:, None] == batch.instances
    same_class = batch.labels[:, None] == batch.labels
    assert same_image.sum() == 24 * 3 and same_class.sum() == 24 * 6


def test_resized_crops_come_the_same_whatever_the_threads(split: dataset.Split, data: Data) -> None:
    chosen = dataclasses.replace(data, crop="resized", threads=5)
    other = dataclasses.replace(chosen, threads=1)
    assert_same(joined(batches(split, chosen)), joined(batches(split, other)))


def test_an_unreadable_image_is_a_masked_row_of_zeros(split: dataset.Split, data: Data) -> None:
    records = [split.records[i] for i in range(143)]
    bad = int(sample(1)[5])
    records[bad] = b"no image"
    damaged = dataclasses.replace(split, records=records)
    sound, broken = joined(batches(split, data)), joined(batches(damaged, data))
    hit = broken.instances == bad
    np.testing.assert_array_equal(broken.mask, ~hit)
    assert not broken.images[hit].any()
    np.testing.assert_array_equal(broken.images[~hit], sound.images[~hit])
    np.testing.assert_array_equal(broken.labels, sound.labels)
    in_order = joined(list(loader.in_order(damaged, data, 40)))
    np.testing.assert_array_equal(np.flatnonzero(~in_order.mask), [bad, *range(143, 160)])
