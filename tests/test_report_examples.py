"""Which queries are shown, and that right and wrong follow the labels."""

from pathlib import Path

import numpy as np
import report_examples as examples

from abe_jax import config
from abe_jax.data.split import Split
from abe_jax.evaluation.embed import Embedded
from abe_jax.report import Choice, choose, gallery
from abe_jax.runs import conclusion


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


def test_gallery_asks_each_shown_image_once_and_keeps_who_is_whose():
    asked = []

    def image(i: int) -> np.ndarray:
        asked.append(i)
        return np.full((2, 2, 1), i, np.uint8)

    choice = Choice(spaced=np.array([7]), failed=np.array([3]))
    shown = gallery(
        choice,
        np.array([[3, 9, 5], [9, 7, -1]]),
        labels=np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 1]),
        class_names=["zero", "one"],
        image=image,
        details=str,
    )
    assert asked == [3, 5, 7, 9]
    assert shown.images[shown.queries, 0, 0, 0].tolist() == [7, 3]
    assert shown.images[shown.neighbours[0], 0, 0, 0].tolist() == [3, 9, 5]
    assert shown.neighbours[1, 2] == -1
    assert shown.right().tolist() == [[True, True, False], [True, True, False]]
    assert shown.failures == 1
    assert shown.details == ["3", "5", "7", "9"]
    assert [shown.name(int(i)) for i in shown.queries] == ["one", "one"]


def test_the_example_has_both_right_and_wrong():
    right = examples.shown().right()
    assert right.any() and not right.all()
    assert not right[-3:, 0].any()


def test_a_split_of_fewer_images_than_neighbours_are_shown_shows_all_the_others():
    made = config.load(Path(__file__).with_name("tiny_config.py"))
    split = Split(
        name="val",
        records=[b""] * 5,
        labels=np.array([0, 0, 0, 1, 1], np.int32),
        groups=None,
        class_names=("zero", "one"),
    )
    vectors = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32)
    embedded = Embedded(vectors, np.arange(5), np.zeros(0, np.int64))
    shown = conclusion._gallery(made, split, embedded)
    assert shown is not None
    assert all(len(set(row)) == 4 for row in shown.neighbours.tolist())
