"""The PNG sheets: pixels where they belong, marks that follow the labels, odd text survived."""

import base64

import cv2
import numpy as np
import pytest
import report_examples as examples

from abe_jax.report import Gallery, palette, pixels, sheet


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[:, :, ::-1]


def count(image: np.ndarray, name: str) -> int:
    colour = [int(palette.light(name)[i : i + 2], 16) for i in (1, 3, 5)]
    return int((image == np.array(colour)).all(axis=-1).sum())


def pair(label: int) -> Gallery:
    """One query with one neighbour, of the given label."""
    colours = np.zeros((2, 8, 8, 3), np.uint8)
    colours[0, :, :, 0] = 255
    return Gallery(
        images=colours,
        labels=np.array([0, label]),
        class_names=["$x^$", "漢 <b>"],
        queries=np.array([0]),
        neighbours=np.array([[1]]),
    )


def test_right_is_blue_and_wrong_is_orange():
    right, wrong = decoded(sheet.retrieval(pair(0))), decoded(sheet.retrieval(pair(1)))
    assert count(right, "blue") > 300 and count(right, "orange") == 0
    assert count(wrong, "orange") > 200 and count(wrong, "blue") == 0


def test_images_stand_in_their_places_in_their_colours():
    drawn = decoded(sheet.retrieval(pair(0), side=80))
    assert drawn[50, 50].tolist() == [255, 0, 0]  # the query, red: OpenCV's BGR was put right
    assert drawn[50, 160].tolist() == [0, 0, 0]


def test_rows_bound_the_sheet():
    shown = examples.shown()
    assert decoded(sheet.retrieval(shown, rows=2)).shape[0] < 250
    assert decoded(sheet.retrieval(shown)).shape[0] > 800


def test_sheets_repeat_to_the_byte():
    assert sheet.retrieval(pair(1)) == sheet.retrieval(pair(1))


def test_contact_sheet_keeps_order_and_takes_any_shape():
    images = [np.full((4, 8, 1), 200, np.uint8), np.full((9, 9, 3), 40, np.uint8)]
    drawn = decoded(sheet.contact([*images, images[1]], ["a", "$x^$", "c"], columns=2, side=40))
    assert drawn.shape == (10 + 2 * (40 + sheet.LINE + 10), 10 + 2 * (40 + 10), 3)
    assert drawn[30, 30].tolist() == [200, 200, 200]
    assert drawn[12, 30].tolist() != [200, 200, 200]  # the wide one keeps its shape
    assert drawn[30, 80].tolist() == drawn[100, 30].tolist() == [40, 40, 40]
    assert drawn[100, 80].tolist() not in ([200, 200, 200], [40, 40, 40])


def test_no_images_are_an_empty_sheet():
    assert decoded(sheet.contact([], [])).size > 0


def test_contact_sheet_refuses_missing_captions():
    with pytest.raises(ValueError, match="argument"):
        sheet.contact([np.zeros((2, 2, 1), np.uint8)], [])


def test_text_that_the_font_lacks_is_named_by_number():
    assert sheet.drawable("漢a", 20) == "U+6F22a"
    assert sheet.drawable("abcdef", 4) == "abc…"


def test_embedded_images_keep_their_colours():
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, :, 0] = 255
    data = base64.b64decode(pixels.data_uri(red).split(",")[1])
    assert decoded(data)[4, 4].tolist() == [255, 0, 0]


def test_small_images_are_kept_to_the_pixel_and_large_ones_scaled():
    assert pixels.data_uri(np.zeros((32, 32, 1), np.uint8)).startswith("data:image/png")
    assert pixels.data_uri(np.zeros((300, 200, 3), np.uint8)).startswith("data:image/jpeg")
    assert pixels.fitted(np.zeros((300, 200, 3), np.uint8), 90).shape == (90, 60, 3)


def test_heat_reads_on_its_scale():
    flat = np.zeros((16, 16, 1), np.uint8)
    mask = np.array([[0.0, 1.0]])
    drawn = pixels.heat(flat, mask, low=0.0, high=1.0)
    ends = pixels.scale_bar(pixels.MASK)[0]
    np.testing.assert_allclose(drawn[5, 0], ends[0], atol=1)
    np.testing.assert_allclose(drawn[5, -1], ends[-1], atol=1)
    level = pixels.heat(flat, np.full((2, 2), 0.5), low=0.5, high=0.5)
    assert (level == level[0, 0]).all()


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        pixels.rgb(np.zeros((2, 2, 2), np.uint8))
