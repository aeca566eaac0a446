"""Samplers: their structure, their purity, and what they refuse."""

import dataclasses

import numpy as np
import pytest

from abe_jax.data import samplers
from abe_jax.data.samplers import ByClass, ByDomain
from abe_jax.data.sampling import Sampling
from abe_jax.errors import ArgumentError

LABELS = np.repeat(np.arange(12), np.arange(2, 14)).astype(np.int32)
SHUFFLED = np.random.default_rng(7).permutation(LABELS).astype(np.int32)
CLASSES = ByClass.of(SHUFFLED)


def rng(seed: int, step: int) -> np.random.Generator:
    return np.random.default_rng([seed, step])


def test_pairs_hold_positives_then_negatives() -> None:
    for step in range(200):
        labels = SHUFFLED[samplers.pairs(CLASSES, 16, rng(0, step))].reshape(8, 2)
        same = labels[:, 0] == labels[:, 1]
        assert same[:4].all()
        assert not same[4:].any()


def test_a_partner_is_another_image() -> None:
    for step in range(200):
        indices = samplers.pairs(CLASSES, 16, rng(0, step)).reshape(8, 2)
        assert (indices[:, 0] != indices[:, 1]).all()


def test_drawn_images_of_pairs_are_different_and_every_image_is_reached() -> None:
    seen = set()
    for step in range(400):
        indices = samplers.pairs(CLASSES, 16, rng(0, step))
        assert len(set(indices[::2])) == 8
        seen |= set(indices[1::2].tolist())
    assert seen == set(range(len(SHUFFLED)))


def test_positive_partners_are_drawn_evenly() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1], np.int32)
    counts = np.zeros((8, 8))
    for step in range(3000):
        first, second = samplers.pairs(ByClass.of(labels), 4, rng(0, step))[:2]
        counts[first, second] += 1
    possible = counts[(labels[:, None] == labels) & ~np.eye(8, dtype=bool)]
    assert counts.sum() == possible.sum() == 3000
    assert possible.min() > 0.7 * 3000 / 24


def test_class_balanced_holds_p_classes_of_k_images() -> None:
    labels = SHUFFLED[samplers.class_balanced(CLASSES, 20, 4, rng(3, 5))].reshape(5, 4)
    assert (labels == labels[:, :1]).all()
    assert len(set(labels[:, 0])) == 5


def test_class_balanced_repeats_only_where_a_class_is_short() -> None:
    for step in range(100):
        indices = samplers.class_balanced(CLASSES, 40, 4, rng(3, step)).reshape(10, 4)
        for row in indices:
            assert len(set(row)) == min(4, (SHUFFLED[row[0]] == SHUFFLED).sum())


def test_with_replacement_each_image_of_a_class_has_the_same_chance_each_time():
    labels = np.array([0, 1, 0, 1, 0, 1, 1], np.int32)  # three images and four
    classes, counts, twice = ByClass.of(labels), np.zeros(7), 0
    for step in range(2000):
        drawn = samplers.class_balanced(classes, 4, 2, rng(0, step), replacement=True)
        indices = drawn.reshape(2, 2)
        assert sorted(labels[indices[:, 0]]) == [0, 1]
        assert (labels[indices[:, 0]] == labels[indices[:, 1]]).all()
        np.add.at(counts, indices, 1)
        twice += (indices[:, 0] == indices[:, 1]).sum()
    np.testing.assert_allclose(counts, 4000 / np.where(labels == 0, 3, 4), rtol=0.1)
    assert abs(twice / 2000 - (1 / 3 + 1 / 4)) < 0.05


@pytest.mark.parametrize("replacement", [False, True])
def test_every_class_has_the_same_chance_whatever_its_size(replacement: bool) -> None:
    counts = np.zeros(12)
    for step in range(1200):
        indices = samplers.class_balanced(CLASSES, 12, 4, rng(0, step), replacement=replacement)
        drawn = SHUFFLED[indices[::4]]
        assert len(set(drawn)) == 3
        counts[drawn] += 1
    np.testing.assert_allclose(counts, 300, atol=75)


@pytest.mark.parametrize("name", ["pairs", "class_balanced", "shuffle"])
def test_repeats_put_each_drawn_image_into_adjacent_rows(name: str) -> None:
    once = Sampling(sampler=name).batches(SHUFFLED, 8, seed=3)
    thrice = Sampling(sampler=name, repeats=3).batches(SHUFFLED, 24, seed=3)
    for step in range(20):
        rows = thrice(step)
        assert len(rows) == 24
        np.testing.assert_array_equal(rows.reshape(8, 3), np.tile(once(step)[:, None], 3))


def test_an_epoch_of_shuffled_repeats_shows_every_image_once_so_many_times() -> None:
    sample = Sampling(sampler="shuffle", repeats=2).batches(LABELS, 12, seed=1)
    for epoch in range(2):  # 90 images, 6 a step
        rows = np.concatenate([sample(epoch * 15 + step) for step in range(15)])
        np.testing.assert_array_equal(np.sort(rows), np.repeat(np.arange(90), 2))


def test_shuffle_visits_every_image_once_an_epoch() -> None:
    epochs = [
        np.concatenate([samplers.shuffle(90, 9, 1, epoch * 10 + step) for step in range(10)])
        for epoch in range(2)
    ]
    assert len(LABELS) == 90
    for epoch in epochs:
        assert sorted(epoch) == list(range(90))
    assert (epochs[0] != epochs[1]).any()


DOMAINS = np.random.default_rng(1).integers(0, 6, len(SHUFFLED)).astype(np.int32) * 3


def of_domains(domains: int, k: int, seed: int = 3, **changes):
    chosen = Sampling(sampler="domains", domains_per_batch=domains, images_per_class=k, **changes)
    return lambda batch: chosen.batches(SHUFFLED, batch, seed, groups=DOMAINS)


def test_domains_are_equal_blocks_of_one_domain_each_with_different_classes_in_it() -> None:
    sample, orders = of_domains(4, 3)(48), set()
    by_domain = ByDomain.of(SHUFFLED, DOMAINS)
    for step in range(100):
        rows = sample(step)
        np.testing.assert_array_equal(rows, samplers.domains(by_domain, 48, 4, 3, rng(3, step)))
        blocks = rows.reshape(4, 4, 3)
        drawn, labels = DOMAINS[blocks], SHUFFLED[blocks]
        assert (drawn == drawn[:, :1, :1]).all() and len(set(drawn[:, 0, 0])) == 4
        assert (labels == labels[..., :1]).all()
        assert all(len(set(block[:, 0])) == 4 for block in labels)
        orders.add(tuple(drawn[:, 0, 0].tolist()))
    assert len(orders) > 60 and sum(list(order) == sorted(order) for order in orders) < 15


def test_a_class_short_of_images_in_a_domain_repeats_those_of_that_domain() -> None:
    sample, short = of_domains(3, 4)(36), 0
    for step in range(100):
        for row in sample(step).reshape(9, 4):
            own = (SHUFFLED[row[0]] == SHUFFLED) & (DOMAINS[row[0]] == DOMAINS)
            assert len(set(row)) == min(4, own.sum())
            short += own.sum() < 4
    assert short > 50


def test_domains_draw_every_domain_class_and_image_alike() -> None:
    labels = np.tile(np.arange(4), 12).astype(np.int32)  # 4 domains of 4 classes of 3 images
    groups = np.repeat(np.arange(4), 12).astype(np.int32)
    by_domain, counts = ByDomain.of(labels, groups), np.zeros(48)
    for step in range(1500):
        rows = samplers.domains(by_domain, 8, 2, 2, rng(0, step))
        np.add.at(counts, rows, 1)
    np.testing.assert_allclose(counts, 8 * 1500 / 48, rtol=0.25)


def test_domains_combine_with_repeats_and_with_replacement() -> None:
    once, thrice = of_domains(2, 2)(8), of_domains(2, 2, repeats=3)(24)
    replaced, twice = of_domains(2, 2, replacement=True)(8), 0
    for step in range(50):
        np.testing.assert_array_equal(thrice(step), np.repeat(once(step), 3))
        rows = replaced(step).reshape(2, 2, 2)
        assert (DOMAINS[rows] == DOMAINS[rows][:, :1, :1]).all()
        assert (SHUFFLED[rows] == SHUFFLED[rows][..., :1]).all()
        for first, second in rows.reshape(-1, 2):
            own = (SHUFFLED[first] == SHUFFLED) & (DOMAINS[first] == DOMAINS)
            twice += own.sum() > 1 and first == second
    assert twice > 5


@pytest.mark.parametrize(
    ("options", "groups", "batch", "says"),
    [
        ({}, None, 40, "needs a data set whose images have domains.*domain_column"),
        ({}, DOMAINS, 50, "multiple of 20 .*times images_per_class.*nearest is 40"),
        ({"domains_per_batch": 7}, DOMAINS, 28, "7 domains asked.*have 6; at most 6"),
        ({}, DOMAINS, 260, "need 13 classes of each.*one has 6; at most 120 rows"),
        ({"repeats": 2}, DOMAINS, 400, "need 10 classes of each.*at most 240 rows"),
    ],
)
def test_domains_that_do_not_fit_are_refused(
    options: dict, groups: np.ndarray | None, batch: int, says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        Sampling(sampler="domains", **options).batches(SHUFFLED, batch, 0, groups)


@pytest.mark.parametrize("name", ["pairs", "class_balanced", "shuffle", "domains"])
def test_a_batch_depends_on_labels_seed_and_step_alone(name: str) -> None:
    chosen = Sampling(sampler=name, domains_per_batch=2)
    sample = chosen.batches(SHUFFLED, 16, seed=3, groups=DOMAINS)
    forwards = [sample(step) for step in range(12)]
    again = chosen.batches(SHUFFLED, 16, seed=3, groups=DOMAINS)
    for step in reversed(range(12)):
        np.testing.assert_array_equal(again(step), forwards[step])
    other = chosen.batches(SHUFFLED, 16, seed=4, groups=DOMAINS)
    assert any((other(step) != forwards[step]).any() for step in range(3))
    assert (forwards[0] != forwards[1]).any()


@pytest.mark.parametrize(
    ("options", "labels", "batch", "says"),
    [
        ({"sampler": "pears"}, LABELS, 8, "did you mean 'pairs'"),
        ({"sampler": "pairs"}, LABELS, 10, "multiple of 4.*the nearest is 8"),
        ({"sampler": "pairs"}, np.array([0, 0, 1], np.int32), 4, "class 1 has 1"),
        ({"sampler": "class_balanced"}, LABELS, 10, "nearest is 8"),
        ({"sampler": "class_balanced"}, LABELS, 100, "at most 48 fit"),
        (
            {"sampler": "class_balanced", "images_per_class": 25, "replacement": True},
            LABELS,
            80,
            r"multiple of 25 \(images_per_class\), got 80; the nearest is 75",
        ),
        ({"sampler": "pairs", "repeats": 3}, LABELS, 16, "multiple of 12.*nearest is 12"),
        (
            {"sampler": "class_balanced", "repeats": 3},
            LABELS,
            32,
            r"multiple of 12 \(4 \(images_per_class\) times repeats=3\), "
            "got 32; the nearest is 36",
        ),
        (
            {"sampler": "class_balanced", "repeats": 3},
            LABELS,
            156,
            "3 times each.*need 13 classes, and there are 12; at most 144 fit",
        ),
        (
            {"sampler": "shuffle", "repeats": 3},
            LABELS,
            10,
            r"multiple of 3 \(repeats=3\), got 10; the nearest is 9",
        ),
        ({"sampler": "shuffle", "repeats": 3}, LABELS, 273, "91 images.*at most 270 rows"),
        ({"sampler": "shuffle"}, LABELS, 91, "there are 90"),
    ],
)
def test_what_a_sampler_cannot_hold_is_refused(
    options: dict, labels: np.ndarray, batch: int, says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        Sampling(**options).batches(labels, batch, seed=0)


@pytest.mark.parametrize("name", ["images_per_class", "domains_per_batch", "repeats"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}: 0"):
        dataclasses.replace(Sampling(), **{name: 0})


# Three domains with classes of their own: of 4, 3 and 2 classes, of other sizes each.
SIZES = (7, 2, 3, 1, 9, 4, 5, 2, 2)
SUPER_LABELS = np.repeat(np.arange(9), SIZES).astype(np.int32)
SUPER_DOMAINS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])[SUPER_LABELS].astype(np.int32)
BY_SUPER = ByDomain.of(SUPER_LABELS, SUPER_DOMAINS)


def super_rows(step: int, batch: int, classes: int, domains: int = 2) -> np.ndarray:
    """The rows of a batch, [domain, row]."""
    drawn = samplers.super_classes(BY_SUPER, batch, domains, classes, rng(4, step))
    return drawn.reshape(domains, -1)


def test_super_classes_lay_so_many_domains_with_whole_classes_side_by_side() -> None:
    for step in range(100):
        blocks = super_rows(step, 20, 2)  # ten rows of each domain
        owners = SUPER_DOMAINS[blocks]
        assert (owners == owners[:, :1]).all() and owners[0, 0] != owners[1, 0]
        for block in blocks:
            labels = SUPER_LABELS[block]
            runs = labels[np.flatnonzero(np.diff(labels, prepend=-1))]
            if SUPER_DOMAINS[block[0]] != 2:  # of which four images come again
                assert len(set(runs)) == len(runs)


def test_classes_that_fit_are_there_with_all_their_images() -> None:
    for step in range(60):
        for block in super_rows(step, 26, 2):  # 13 rows: every domain's two classes fit, or nearly
            labels, counts = np.unique(SUPER_LABELS[block], return_counts=True)
            sizes = np.array(SIZES)[labels]
            assert (counts <= sizes).all() or SUPER_DOMAINS[block[0]] == 2
            short = np.flatnonzero(counts < sizes)
            assert len(short) <= 1  # the last of those that filled the rows up


def test_classes_with_more_images_than_rows_share_them_evenly() -> None:
    seen = set()
    for step in range(60):
        for block in super_rows(step, 12, 3):  # six rows of three classes
            domain = SUPER_DOMAINS[block[0]]
            labels, counts = np.unique(SUPER_LABELS[block], return_counts=True)
            assert len(set(block)) == 6 or domain == 2
            if domain == 1:  # 9, 4 and 5 images
                assert (counts == 2).all() and set(labels) == {4, 5, 6}
                seen |= set(block.tolist())
    assert seen == set(np.flatnonzero(SUPER_DOMAINS == 1))


@pytest.mark.parametrize(
    ("sizes", "first", "rows", "expected"),
    [
        ([5, 3, 4, 9], 2, 8, [5, 3, 0, 0]),
        ([5, 3, 4, 9], 2, 10, [5, 3, 2, 0]),
        ([5, 3, 4, 9], 2, 30, [5, 3, 4, 9]),
        ([5, 3, 4, 9], 4, 12, [3, 3, 3, 3]),
        ([5, 1, 4, 9], 4, 12, [4, 1, 4, 3]),
        ([5, 1, 4, 9], 4, 3, [1, 1, 1, 0]),
        ([2, 2], 5, 4, [2, 2]),
    ],
)
def test_rows_are_shared_out(sizes, first, rows, expected) -> None:
    found = samplers._rows_of_each(np.array(sizes), first, rows)
    np.testing.assert_array_equal(found, expected)


def test_domains_and_their_classes_are_drawn_in_proportion_to_their_images() -> None:
    draws, domains, classes = 4000, np.zeros(3), np.zeros(9)
    for step in range(draws):
        block = super_rows(step, 1, 1, domains=1)[0]
        domains[SUPER_DOMAINS[block[0]]] += 1
        classes[SUPER_LABELS[block[0]]] += 1
    sizes = np.array(SIZES)
    np.testing.assert_allclose(domains / draws, np.array([13, 18, 4]) / 35, atol=0.025)
    np.testing.assert_allclose(classes / draws, sizes / 35, atol=0.025)


def test_a_domain_with_fewer_images_than_rows_gives_them_again() -> None:
    for step in range(40):
        for block in super_rows(step, 20, 2):
            if SUPER_DOMAINS[block[0]] == 2:
                np.testing.assert_array_equal(block[:4], block[4:8])
                assert set(block) == set(np.flatnonzero(SUPER_DOMAINS == 2))


@pytest.mark.parametrize(
    ("options", "batch", "groups", "told"),
    [
        ({}, 20, None, "sampler: 'super_classes' needs a data set whose images have domains"),
        ({"domains_per_batch": 4}, 20, SUPER_DOMAINS, "domains_per_batch: 4 .*at most 3"),
        ({}, 21, SUPER_DOMAINS, "batch: .*multiple of 2 .*nearest is 20"),
        ({"classes_per_domain": 6}, 20, SUPER_DOMAINS, "batch: 20 rows are fewer .*at least 24"),
        ({"classes_per_domain": 0}, 20, SUPER_DOMAINS, "classes_per_domain: 0, but"),
    ],
)
def test_what_super_classes_refuse(options, batch, groups, told) -> None:
    given = {"sampler": "super_classes", "domains_per_batch": 2, "classes_per_domain": 2} | options
    with pytest.raises(ArgumentError, match=f"^{told}"):
        Sampling(**given).batches(SUPER_LABELS, batch, 0, groups=groups)


def test_super_classes_are_a_function_of_seed_and_step() -> None:
    made = Sampling(sampler="super_classes", domains_per_batch=2, classes_per_domain=2, repeats=2)
    first, again = (made.batches(SUPER_LABELS, 40, 3, groups=SUPER_DOMAINS) for _ in range(2))
    for step in (5, 0, 5):
        np.testing.assert_array_equal(first(step), again(step))
        np.testing.assert_array_equal(first(step)[::2], first(step)[1::2])
    other = made.batches(SUPER_LABELS, 40, 4, groups=SUPER_DOMAINS)
    assert any((first(step) != other(step)).any() for step in range(3))
