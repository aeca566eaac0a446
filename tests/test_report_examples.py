"""Which queries are shown, and that right and wrong follow the labels."""

import numpy as np
import report_examples as examples

from abe_jax import models
from abe_jax.data import Preprocessing, Split
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.examples import choose, evenly, gallery, shown_images
from abe_jax.evaluation.network import Embedded, Network


def test_even_indices_are_the_middles_of_equal_shares():
    assert evenly(100, 4).tolist() == [12, 37, 62, 87]
    assert evenly(3, 4).tolist() == [0, 1, 2]
    assert evenly(0, 4).tolist() == []


def test_choice_is_even_over_the_split_and_over_its_failures():
    right = np.ones(100, bool)
    right[[10, 11, 12, 50, 90, 91]] = False
    choice = choose(right, spaced=4, failed=3)
    assert choice.spaced.tolist() == [12, 37, 62, 87]
    assert choice.failed.tolist() == [10, 50, 91]  # of 10 11 50 90 91: query 12 is shown already


def test_fewer_queries_or_failures_than_asked_for():
    assert choose(np.array([True, False])).spaced.tolist() == [0, 1]
    assert choose(np.ones(20, bool)).failed.tolist() == []
    assert choose(np.ones(0, bool)).spaced.tolist() == []


def test_each_shown_image_is_asked_for_once_and_stays_its_rows():
    asked = []

    def image(row: int) -> np.ndarray:
        asked.append(row)
        return np.full((2, 2, 1), row, np.uint8)

    shown = shown_images(np.array([7, 3]), np.array([[3, 9, 5], [9, 7, -1]]), image)
    assert asked == shown.rows.tolist() == [3, 5, 7, 9]
    assert shown.images[shown.queries, 0, 0, 0].tolist() == [7, 3]
    assert shown.images[shown.neighbours[0], 0, 0, 0].tolist() == [3, 9, 5]
    assert shown.neighbours[1, 2] == -1


def test_the_example_has_both_right_and_wrong():
    shown = examples.shown()
    right = shown.right()
    assert right.any() and not right.all()
    assert not right[-3:, 0].any()
    assert [shown.name(int(i)) for i in shown.queries[:3]] == ["g", "ß", "Ω"]


def small(groups: np.ndarray | None) -> tuple[Embedder, Split, Embedded]:
    """A split of five images that cannot be read, and their made-up vectors."""
    split = Split(
        name="val",
        records=[b""] * 5,
        labels=np.array([0, 0, 0, 1, 1], np.int32),
        groups=groups,
        class_names=("zero", "one"),
        group_names=("left", "right"),
    )
    vectors = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32)
    model = models.build("single", backbone="convnet", dim=3)
    network = Network(model, Preprocessing(resize=8, size=8))
    embedder = Embedder.of(network, {}, {}, {})
    return embedder, split, Embedded(vectors, np.arange(5), np.zeros(0, np.int64))


def test_a_split_of_fewer_images_than_neighbours_are_shown_shows_all_the_others():
    shown = gallery(*small(None))
    assert shown is not None and shown.details is None
    assert all(len(set(row)) == 4 for row in shown.neighbours.tolist())
    assert shown.queries.tolist() == [0, 1, 2, 3, 4] and shown.images.shape == (5, 8, 8, 3)


def test_what_is_said_of_an_image_is_its_own_group():
    shown = gallery(*small(np.array([0, 1, 0, 1, 1], np.int32)))
    assert shown is not None
    assert shown.details == ["left", "right", "left", "right", "right"]
