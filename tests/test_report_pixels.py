"""Pictures inside a page: colours, sizes and masks as they were given; text that a font lacks."""

import base64

import cv2
import numpy as np
import pytest

from abe_jax.report import pixels
from abe_jax.report.figures import layout


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[:, :, ::-1]


def test_text_that_the_font_lacks_is_named_by_number():
    assert layout.drawable("漢a", 20) == "U+6F22a"
    assert layout.drawable("abcdef", 4) == "abc…"


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
